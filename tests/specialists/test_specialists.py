"""The agent asks other endpoints; what they cite and how far they are is not lost on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from app.agent.agent import Agent
from app.agent.events import Answer, Status
from app.agent.turn import Turn
from app.common.caller import UNKNOWN_CALLER
from app.databricks.credentials import PersonalAccessToken
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from app.models.model import Source, ToolCall
from app.models.model_errors import RateLimitedError
from app.settings.specialist_settings import SpecialistSettings
from app.specialists.specialists import MAX_ANSWER_CHARACTERS, Specialists
from app.storage.conversations import ConversationKey
from app.tools.base import ToolResult
from app.tools.registry import ToolRegistry
from tests.fakes.scripted_model import ScriptedModel, ScriptedReply
from tests.fakes.serving_endpoint import DONE, TOKEN, ServingEndpoint, Stream, event
from tests.fakes.tools import tool_context, without_data_marks

TURN = Turn("turn-1", ConversationKey("tenant", "conversation"), "What does the contract say?", locale="en")


def specialists(replies: Sequence[ScriptedReply]) -> tuple[Specialists, ScriptedModel]:
    named = [{"name": "legal", "endpoint": "agents_legal", "description": "Knows contracts."}]
    settings = SpecialistSettings.model_validate({"SPECIALISTS": json.dumps(named)})
    workspace = WorkspaceClient(WorkspaceUrl.parse("https://w.example"), PersonalAccessToken(SecretStr("t")))
    model = ScriptedModel(replies)
    return Specialists(settings, workspace, make_model=lambda endpoint, _: model), model


async def test_its_citations_and_its_progress_are_the_answers() -> None:
    provider, asked = specialists(
        [["Reading the contract.\nIt ends in May [1]", Source("Contract 7", "https://docs.example/7", "May"), " [9]."]]
    )
    agent_model = ScriptedModel([[ToolCall("1", "ask_legal", '{"question": "When does contract 7 end?"}')], "May [1]."])
    agent = Agent(agent_model, [provider], system_prompt="", history_token_budget=0)
    events = [event async for event in agent.answer(TURN, [])]
    statuses = [event.text for event in events if isinstance(event, Status)]
    assert statuses == ["Asking legal", "legal: Reading the contract."]
    end = events[-1]
    assert isinstance(end, Answer)
    assert [(each.position, each.title, each.url, each.quote) for each in end.citations] == [
        (1, "Contract 7", "https://docs.example/7", "May")
    ]
    told = next(each.content for each in agent_model.requests[-1].messages if each.role == "tool")
    assert "It ends in May [source: Contract 7] [9]." in told
    assert "[1] Contract 7" in told
    assert [message.content for message in asked.requests[0].messages] == ["When does contract 7 end?"]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (RateLimitedError("secret detail"), "legal did not answer (RateLimitedError)"),
        (" ", "without any text"),
        ("x" * MAX_ANSWER_CHARACTERS * 2, "was left out"),
    ],
)
async def test_what_goes_wrong_is_told_and_breaks_no_turn(reply: ScriptedReply, told: str) -> None:
    provider, _ = specialists([reply])
    registry = ToolRegistry(await provider.tools(UNKNOWN_CALLER))
    result: ToolResult = await registry.run(ToolCall("1", "ask_legal", '{"question": "?"}'), tool_context())
    assert told in without_data_marks(result.text)
    assert "secret detail" not in result.text


async def test_an_agent_behind_a_serving_endpoint_is_asked_as_the_identity_of_the_turn() -> None:
    annotation = {"type": "url_citation", "url": "https://docs.example/7", "title": "Contract 7"}
    named = [{"name": "legal", "endpoint": "agents_legal"}]
    async with ServingEndpoint("agents_legal", task="agent/v1/responses") as endpoint:
        delta = {"type": "response.output_text.delta", "item_id": "m1", "delta": "It ends in May.[^1]"}
        added = {"type": "response.output_text.annotation.added", "annotation": annotation}
        endpoint.replies.append(Stream([event(delta), event(added), DONE]))
        workspace = WorkspaceClient(WorkspaceUrl.parse(endpoint.base_url), PersonalAccessToken(SecretStr(TOKEN)))
        provider = Specialists(SpecialistSettings.model_validate({"SPECIALISTS": json.dumps(named)}), workspace)
        registry = ToolRegistry(await provider.tools(UNKNOWN_CALLER))
        result = await registry.run(ToolCall("1", "ask_legal", '{"question": "When?"}'), tool_context())
        await provider.close()
        await workspace.close()
    assert result.text == "It ends in May.[source: Contract 7]"
    assert result.citations == (Source("Contract 7", "https://docs.example/7"),)
    assert endpoint.asked[0].token == TOKEN
