"""A question in Genie's agent mode: streamed, followed after a cut, cancelled, and asked once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.common.caller import UNKNOWN_CALLER
from app.common.cancellation import Cancellation, CancelReason
from app.content.blocks import Actions, Block, Chart, Code, Folded, Table
from app.data.stored_results import StoredResults
from app.databricks.credentials import PersonalAccessToken
from app.genie.agent_mode import _events
from app.genie.provider import GenieTools
from app.local.genie_plans import PLANS, MessagePlan
from app.local.genie_stand_in import SPACE_ID
from app.local.stand_in_replies import RefusedRequestError
from app.models.model import ToolCall
from app.settings.genie_settings import GenieSettings
from app.storage.sqlite.sqlite_store import SqliteStore
from app.tools.base import ToolResult
from app.tools.registry import ToolRegistry
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, data_workspace
from tests.fakes.tools import tool_context
from tests.fakes.workspaces import workspace_at

BY_MONTH = "How did revenue develop by month?"
BY_REGION = "How many orders are there by region?"
CONTEXT = tool_context()


async def at_once(_: float) -> None:
    await asyncio.sleep(0.001)


@dataclass
class Agent:
    """`ask` is one call of the tool by one worker: calls with the same `call` are of the same resumed turn."""

    data: DataWorkspace
    registry: ToolRegistry
    tools: GenieTools

    async def ask(self, question: str, call: str = "1", **context: object) -> ToolResult:
        made = ToolCall("1", self.registry.tools[0].name, json.dumps({"question": question}))
        return await self.registry.run(made, replace(CONTEXT, idempotency_key=call, **context))  # type: ignore[arg-type]

    async def until_a_query_runs(self) -> None:
        async with asyncio.timeout(20):
            while not self.data.warehouse.executed:  # noqa: ASYNC110
                await asyncio.sleep(0.002)


@asynccontextmanager
async def an_agent(folder: Path, sql_capability: str = "sql") -> AsyncIterator[Agent]:
    token = PersonalAccessToken(SecretStr(DATA_TOKEN))
    async with data_workspace() as data, workspace_at(data.url, token, sleep=at_once) as workspace:
        store = SqliteStore(folder / "agent.sqlite")
        settings = GenieSettings.model_validate({"GENIE_SPACES": SPACE_ID, "GENIE_AGENT_MODE": "true"})
        results = StoredResults(store.artifacts())
        tools = GenieTools(
            settings, workspace, store.documents(), results, sql_capability=sql_capability, sleep=at_once
        )
        try:
            yield Agent(data, ToolRegistry(list(await tools.tools(UNKNOWN_CALLER))), tools)
        finally:
            await store.close()


def elements(result: ToolResult, kind: type[Block]) -> list[Block]:
    return [block for block in result.blocks if isinstance(block, kind)]


def buttons(result: ToolResult) -> list[str]:
    return [action.title for each in result.blocks if isinstance(each, Actions) for action in each.actions]


async def test_a_response_is_shown_while_it_comes_and_ends_as_a_chart_a_table_and_how_genie_got_there(
    tmp_path: Path,
) -> None:
    shown: list[str] = []
    async with an_agent(tmp_path) as agent:
        result = await agent.ask(BY_MONTH, progress=shown.append)
        assert result.succeeded, result.text
        assert shown == ["I look at which tables answer this.", "Running a query: Revenue by month"]
        assert len(elements(result, Chart)) == len(elements(result, Table)) == 1
        (table,) = elements(result, Table)
        assert isinstance(table, Table)
        assert [column.type for column in table.columns] == ["date", "number"]
        assert len(agent.data.warehouse.executed) == 1, "a query of Genie's is run by Genie alone"
        assert "Run again" in buttons(result)
        assert "Revenue by month" in result.text


async def test_without_a_warehouse_the_sql_is_shown_and_cannot_be_run_again(tmp_path: Path) -> None:
    async with an_agent(tmp_path, sql_capability="") as agent:
        result = await agent.ask(BY_MONTH)
        assert "Run again" not in buttons(result)
        shown = [code for each in elements(result, Folded) if isinstance(each, Folded) for code in each.blocks]
        assert [code.code for code in shown if isinstance(code, Code)] == agent.data.warehouse.executed


async def test_a_follow_up_goes_on_in_the_same_conversation_and_is_forgotten_there_with_it(tmp_path: Path) -> None:
    async with an_agent(tmp_path) as agent:
        await agent.ask("How much revenue by region?")
        second = await agent.ask("by quarter instead", "2")
        assert "quarter" in second.text
        (conversation,) = {message.conversation_id for message in agent.data.genie.messages()}
        await agent.tools.forget(CONTEXT.conversation)
        assert agent.data.genie.deleted == [conversation]


@pytest.mark.parametrize("events", range(5))
async def test_after_a_cut_the_conversations_items_tell_the_rest_and_nothing_is_asked_twice(
    tmp_path: Path, events: int
) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.genie_agents.cut_after.append(events)
        result = await agent.ask(BY_MONTH)
        assert result.succeeded, result.text
        assert elements(result, Chart)
        assert agent.data.genie_agents.responses == len(agent.data.genie.asked) == 1
        again = await agent.ask(BY_MONTH)
        assert again.text.splitlines()[0] == result.text.splitlines()[0]
        assert agent.data.genie_agents.responses == 1, "a resumed turn asks again"


async def test_of_a_stream_without_end_the_beginning_is_read_and_the_items_tell_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.genie.agent_mode._MAX_STREAM_BYTES", 900)
    async with an_agent(tmp_path) as agent:
        result = await agent.ask(BY_MONTH)
        assert elements(result, Chart)
        assert agent.data.genie_agents.responses == 1


async def test_lines_of_a_stream_that_are_no_events_change_nothing() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b": keep-alive\r\n\r\nid: 7\r\ndata: [DO", b"NE]\r\n\r\ndata: [1]\n\n", b"data: {\n\n"):
            yield chunk
        yield b'event: x\ndata: {"type": "a"}\n\ndata: {"type":\ndata: "b"}'

    assert [event async for event in _events(chunks()) if event] == [{"type": "a"}, {"type": "b"}]


@pytest.mark.parametrize(
    ("reason", "cancelled"),
    [
        (CancelReason.STOPPED, 1),
        (CancelReason.TIMED_OUT, 1),
        (None, 1),
        (CancelReason.HANDED_OVER, 0),
        (CancelReason.LEASE_LOST, 0),
    ],
)
async def test_stop_cancels_the_response_and_another_worker_follows_it(
    tmp_path: Path, reason: CancelReason | None, cancelled: int
) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.warehouse.hold()
        cancellation = Cancellation()
        asked = asyncio.create_task(agent.ask(BY_MONTH, cancellation=cancellation))
        await agent.until_a_query_runs()
        if reason is not None:
            cancellation.cancel(reason)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        assert len(agent.data.genie_agents.cancelled) == cancelled
        agent.data.warehouse.release()
        resumed = await agent.ask(BY_MONTH)
        assert resumed.succeeded is not bool(cancelled), resumed.text
        assert agent.data.genie_agents.responses == 1


async def test_genies_own_time_limit_cancels_the_response(tmp_path: Path) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.warehouse.hold()
        result = await agent.ask(BY_MONTH, deadline=asyncio.get_running_loop().time() + 2.3)
        assert result.text.startswith("The tool failed: Genie took too long.")
        assert len(agent.data.genie_agents.cancelled) == 1


@pytest.mark.parametrize("code", ["FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"])
async def test_a_workspace_without_agent_mode_is_asked_by_the_conversation_api(tmp_path: Path, code: str) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.genie.refusals.append(RefusedRequestError(404, code, "not here"))
        assert (await agent.ask(BY_MONTH)).succeeded
        assert (await agent.ask(BY_REGION, "2")).succeeded
        assert agent.data.genie_agents.responses == 0, "asked once more within ten minutes"


async def test_another_worker_resumes_what_was_asked_by_the_conversation_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.genie_agents.enabled = False
        agent.data.warehouse.hold()
        cancellation = Cancellation()
        asked = asyncio.create_task(agent.ask(BY_MONTH, cancellation=cancellation))
        await agent.until_a_query_runs()
        cancellation.cancel(CancelReason.HANDED_OVER)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        agent.data.warehouse.release()
        monkeypatch.setattr(agent.tools, "_has_no_agent_mode_until", 0.0)
        assert (await agent.ask(BY_MONTH)).succeeded
        assert agent.data.genie.asked == [BY_MONTH]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "INVALID_PARAMETER_VALUE", "did not take the question"),
        (401, "UNAUTHENTICATED", "sign-in"),
        (403, "PERMISSION_DENIED", "CAN RUN"),
        (404, "RESOURCE_DOES_NOT_EXIST", "not there any more"),
        (409, "RESOURCE_CONFLICT", "is busy"),
        (429, "RATE_LIMIT_EXCEEDED", "only a few questions a minute"),
        (503, "TEMPORARILY_UNAVAILABLE", "cannot be reached"),
    ],
)
async def test_a_refusal_is_a_sentence_to_act_on(tmp_path: Path, status: int, code: str, said: str) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.genie.refusals.extend([RefusedRequestError(status, code, "no")] * 9)
        result = await agent.ask(BY_MONTH, deadline=asyncio.get_running_loop().time() + 40)
        assert not result.succeeded
        assert said in result.text
        assert agent.data.genie.asked == []


async def test_a_question_waits_for_the_response_before_it_which_was_cancelled_and_has_not_ended(
    tmp_path: Path,
) -> None:
    async with an_agent(tmp_path) as agent:
        await agent.ask("How much revenue by region?")
        agent.data.genie.refusals.extend([RefusedRequestError(409, "RESOURCE_CONFLICT", "not yet")] * 3)
        assert "quarter" in (await agent.ask("by quarter instead", "2")).text
        assert len({message.conversation_id for message in agent.data.genie.messages()}) == 1


async def test_a_conversation_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    async with an_agent(tmp_path) as agent:
        await agent.ask(BY_MONTH)
        agent.data.genie.refusals.append(RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "gone"))
        assert (await agent.ask(BY_REGION, "2")).succeeded
        assert len({message.conversation_id for message in agent.data.genie.messages()}) == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [("CONTENT_FILTER_EXCEPTION", "content filter"), ("SOMETHING_NEW", "for a reason of its own")],
)
@pytest.mark.parametrize("cut", [False, True])
async def test_a_response_that_fails_says_why(tmp_path: Path, error: str, said: str, cut: bool) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.genie.plans.append(MessagePlan(end="FAILED", error=(error, "secret words")))
        agent.data.genie_agents.cut_after.extend([2] if cut else [])
        result = await agent.ask(BY_MONTH)
        assert said in result.text
        assert "secret words" not in result.text


async def test_more_rows_than_genie_tells_are_said_to_be_more(tmp_path: Path) -> None:
    async with an_agent(tmp_path) as agent:
        agent.data.genie.plans.append(PLANS["many rows"])
        result = await agent.ask(BY_MONTH)
        assert "of more than 100 rows" in result.text


async def test_another_subject_is_said_as_such(tmp_path: Path) -> None:
    async with an_agent(tmp_path) as agent:
        other = await agent.ask("How many planets are there in total?")
        assert "not about the data" in other.text
        assert not other.blocks
