"""The agent of app/agent behind stored responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from agent_server.databricks_agent import DatabricksAgent, ask_agent
from agent_server.handlers.handler import JsonObject
from agent_server.protocol.api_error import ApiError
from app.agent.agent import Agent
from app.files.uploads import Uploads
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.agent_server.responses.instances import ANN, Instance, in_virtual_time, text_of
from tests.fakes.table_deleter import TableDeleter


class AsksAgent:
    async def invoke(self, request: JsonObject) -> JsonObject:
        raise AssertionError("stored responses are streamed")

    async def stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        async for event in ask_agent(request):
            yield event


def instance(store: SqliteStore, deleter: TableDeleter) -> Instance:
    agent = Agent(deleter, [deleter], system_prompt="You help.", history_token_budget=1000)
    return Instance(store, AsksAgent(), agent=DatabricksAgent(agent, Uploads(store.artifacts())))


async def _asked(instance: Instance) -> tuple[str, JsonObject]:
    """The response that asks for an approval, and the request in it."""
    response = await instance.answered("Delete what is empty", instructions="Be brief.")
    (approval,) = [item for item in response["output"] if item["type"] == "mcp_approval_request"]
    return response["id"], approval


def _decision(approval: JsonObject, *, approve: bool) -> list[JsonObject]:
    return [{"type": "mcp_approval_response", "approval_request_id": approval["id"], "approve": approve}]


@pytest.mark.parametrize("approve", [True, False])
def test_a_decision_continues_the_answer_in_a_response_of_its_own(tmp_path: Any, approve: bool) -> None:
    @in_virtual_time
    async def script(store: SqliteStore) -> None:
        deleter = TableDeleter()
        first, second = instance(store, deleter), instance(store, deleter)
        id, approval = await _asked(first)
        assert "sales" in approval["arguments"]
        assert deleter.deleted == []
        assert "Be brief." in deleter.requests[0].messages[0].content
        # Decided at another instance, and repeated by a client that has lost the answer.
        response = await second.ask(_decision(approval, approve=approve), previous_response_id=id)
        finished = await response.finished()
        assert text_of(finished).strip().endswith("Done." if approve else "Then it stays.")
        assert deleter.deleted == (["sales"] if approve else [])
        assert (await first.service.get(id, ANN))["output"][-1]["type"] == "mcp_approval_request"
        with pytest.raises(ApiError) as refusal:
            await first.ask(_decision(approval, approve=approve), previous_response_id=id)
        assert refusal.value.status == 409
        asked = len(deleter.requests)
        await first.answered("And?", previous_response_id=finished["id"])
        assert "It is empty." in str(deleter.requests[asked].messages), "the conversation forgot what was said"

    script(tmp_path)


@in_virtual_time
async def test_an_approved_call_runs_once_though_instances_die_before_and_after(store: SqliteStore) -> None:
    deleter = TableDeleter()
    first = instance(store, deleter)
    id, approval = await _asked(first)
    await asyncio.sleep(1)
    await first.vanish()
    second, third = instance(store, deleter), instance(store, deleter)
    response = await second.ask(_decision(approval, approve=True), previous_response_id=id)
    await asyncio.sleep(4)
    await second.vanish()
    events = await third.events(response.id)
    assert events[-1]["type"] == "response.completed"
    assert deleter.deleted == ["sales"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@in_virtual_time
async def test_a_decision_counts_though_the_instance_died_while_it_asked(store: SqliteStore) -> None:
    deleter = TableDeleter()
    first, second = instance(store, deleter), instance(store, deleter)
    id, approval = await _asked(first)
    await first.vanish()
    with pytest.raises(ApiError) as refusal:
        await second.ask(_decision(approval, approve=True), previous_response_id=id)
    assert refusal.value.retryable
    await asyncio.sleep(60)
    response = await (await second.ask(_decision(approval, approve=True), previous_response_id=id)).finished()
    assert response["status"] == "completed"
    assert deleter.deleted == ["sales"]


@in_virtual_time
async def test_a_tool_that_was_called_is_an_item_of_the_answer(store: SqliteStore) -> None:
    deleter = TableDeleter()
    _, approval = await _asked(instance(store, deleter))
    assert approval["name"]
    response = await instance(store, deleter).answered("Delete what is empty")
    types = [item["type"] for item in response["output"]]
    assert "mcp_call" in types
    assert types[-1] == "mcp_approval_request"


@in_virtual_time
async def test_a_button_calls_its_tool_without_the_model_in_the_conversation_where_it_stands(
    store: SqliteStore,
) -> None:
    deleter = TableDeleter()
    served = instance(store, deleter)
    response = await served.answered("More rows", custom_inputs={"call_tool": {"tool": "more_rows", "name": "sales"}})
    assert response["status"] == "completed"
    assert text_of(response) == "More of sales."
    assert deleter.requests == []


@pytest.mark.parametrize(
    "data",
    [{"tool": "delete", "name": "sales"}, {"tool": "nothing"}, {"tool": "more_rows"}, {}, {"tool": 5}, "more_rows"],
)
def test_a_button_calls_no_other_tool_and_its_data_is_checked(tmp_path: Any, data: Any) -> None:
    @in_virtual_time
    async def script(store: SqliteStore) -> None:
        deleter = TableDeleter()
        response = await instance(store, deleter).answered("More rows", custom_inputs={"call_tool": data})
        assert response["status"] == "failed"
        assert deleter.deleted == []
        assert deleter.requests == []

    script(tmp_path)


@in_virtual_time
async def test_what_was_said_before_is_told_to_the_model_once_and_in_order(store: SqliteStore) -> None:
    deleter = TableDeleter()
    at = instance(store, deleter)
    id, approval = await _asked(at)
    first = await (await at.ask(_decision(approval, approve=False), previous_response_id=id)).finished()
    asked = len(deleter.requests)
    items = [
        {"role": "developer", "content": "Answer in French."},
        {"role": "user", "content": "Between?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Two?"},
    ]
    await at.answered(items, previous_response_id=first["id"])
    system, *said = [message.content for message in deleter.requests[asked].messages]
    assert "Answer in French." in system
    expected = ["Delete what is empty", "Between?", "Yes.", "Two?"]
    assert [text for text in said if text in expected] == expected
