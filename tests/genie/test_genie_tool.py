"""One question to Genie: asked once over everything that goes wrong, and cancelled where nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from app.common.caller import UNKNOWN_CALLER
from app.common.cancellation import Cancellation, CancelReason
from app.content.blocks import Chart, Table, Text
from app.data.stored_results import StoredResults
from app.databricks.credentials import PersonalAccessToken
from app.genie.asking import Asking
from app.genie.provider import GenieTools
from app.local.genie_plans import PLANS, MessagePlan
from app.local.genie_stand_in import SPACE_ID, GenieStandIn, StandInSpace
from app.local.stand_in_replies import RefusedRequestError
from app.local.warehouse_stand_in import WarehouseStandIn
from app.models.model import ToolCall
from app.settings.genie_settings import GenieSettings
from app.storage.conversations import ConversationKey
from app.storage.sqlite.sqlite_store import SqliteStore
from app.tools.base import Tool, ToolResult, UnavailableTools
from app.tools.registry import ToolRegistry
from tests.fakes.sample_data import DATA_TOKEN, data_workspace
from tests.fakes.tools import tool_context
from tests.fakes.workspaces import workspace_at

BY_MONTH = "How did revenue develop by month?"
BY_REGION = "How many orders are there by region?"
ANN = tool_context().conversation
BOB = ConversationKey(ANN.tenant, "bob")


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0.001)


class Clock:
    """Goes on while somebody sleeps: by a hundredth of that where others run too."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        ends = self.now + seconds
        while self.now < ends:
            await asyncio.sleep(0.001)
            self.now += min(0.5, ends - self.now)


@dataclass
class Space:
    """`ask` is one call of the tool by one worker: calls with the same `call` are of the same resumed turn."""

    genie: GenieStandIn
    warehouse: WarehouseStandIn
    registry: ToolRegistry
    tools: GenieTools
    clock: Clock

    async def ask(
        self, question: str, call: str = "1", conversation: ConversationKey = ANN, **context: object
    ) -> ToolResult:
        made = ToolCall("1", self.registry.tools[0].name, json.dumps({"question": question}))
        base = replace(tool_context(), conversation=conversation, idempotency_key=call)
        return await self.registry.run(made, replace(base, **context))  # type: ignore[arg-type]

    async def until(self, state: str) -> None:
        async with asyncio.timeout(20):
            while not any(message.status == state for message in self.genie.messages()):  # noqa: ASYNC110
                await asyncio.sleep(0.002)


@asynccontextmanager
async def a_space(folder: Path, **settings: str) -> AsyncIterator[Space]:
    token = PersonalAccessToken(SecretStr(DATA_TOKEN))
    async with data_workspace() as data, workspace_at(data.url, token, sleep=at_once) as workspace:
        store = SqliteStore(folder / "agent.sqlite")
        given = {
            "GENIE_SPACES": SPACE_ID,
            "GENIE_REPEAT_SECONDS": "0",
            "GENIE_QUESTIONS_PER_MINUTE": "1000",
            **settings,
        }
        parsed = GenieSettings.model_validate(given)
        results, clock = StoredResults(store.artifacts()), Clock()
        sleep = clock.sleep if "GENIE_QUESTIONS_PER_MINUTE" in settings else at_once
        tools = GenieTools(parsed, workspace, store.documents(), results, sleep=sleep, clock=clock)
        try:
            registry = ToolRegistry(list(await tools.tools(UNKNOWN_CALLER)))
            yield Space(data.genie, data.warehouse, registry, tools, clock)
        finally:
            await store.close()


def rows_of(result: ToolResult) -> int:
    return sum(len(block.rows) for block in result.blocks if isinstance(block, Table))


async def test_what_genie_does_is_shown_as_people_would_say_it(tmp_path: Path) -> None:
    shown: list[str] = []
    async with a_space(tmp_path) as space:
        for plan in ("warehouse starting", "unknown state", "second try"):
            space.genie.plans.append(PLANS[plan])
            result = await space.ask(BY_MONTH, plan, progress=shown.append)
            assert result.succeeded, plan
            assert rows_of(result), plan
    writing, running, starting = "Writing SQL…", "Running the query…", "The warehouse is starting…"
    reading = "Reading what data there is…"
    assert shown == [
        *(reading, writing, starting, running),
        *(reading, writing, running),
        *(reading, writing, running, writing, running),
    ]


async def test_two_questions_at_once_are_asked_one_after_another_and_each_resumes_as_itself(tmp_path: Path) -> None:
    async with a_space(tmp_path) as space:
        both = await asyncio.gather(space.ask(BY_MONTH, "1"), space.ask(BY_REGION, "2"))
        assert [each.succeeded for each in both] == [True, True]
        assert (space.genie.overlaps, space.genie.asked) == (0, [BY_MONTH, BY_REGION])
        again = [await space.ask(BY_MONTH, "1"), await space.ask(BY_REGION, "2")]
        assert [each.text.splitlines()[0] for each in again] == [each.text.splitlines()[0] for each in both]
        assert len(space.genie.asked) == 2, "a resumed turn asks again"


@pytest.mark.parametrize("earlier", [0, 1], ids=["a new conversation", "a conversation that goes on"])
async def test_a_question_whose_answer_is_lost_is_found_and_not_asked_again(tmp_path: Path, earlier: int) -> None:
    async with a_space(tmp_path) as space:
        for n in range(earlier):
            await space.ask(BY_MONTH, f"earlier-{n}")
        space.genie.lost_replies = 1
        assert (await space.ask(BY_MONTH)).succeeded
        assert len(space.genie.asked) == 1 + earlier
        assert (await space.ask(BY_REGION, "next")).succeeded
        assert len({message.conversation_id for message in space.genie.messages()}) == 1


async def test_a_worker_that_vanishes_while_it_asks_leaves_a_question_that_the_next_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def vanish(*_: object) -> None:
        raise asyncio.CancelledError

    async with a_space(tmp_path) as space:
        with monkeypatch.context() as dying:
            dying.setattr(Asking, "_remembered", vanish)
            assert not (await space.ask(BY_MONTH)).succeeded
        assert (await space.ask(BY_MONTH, "1", BOB)).succeeded
        of_ann, of_bob = (message.conversation_id for message in space.genie.messages())
        assert (await space.ask(BY_MONTH)).succeeded
        assert (await space.ask(BY_REGION, "2")).succeeded
        assert [message.conversation_id for message in space.genie.messages()] == [of_ann, of_ann, of_bob]
        await space.tools.forget(ANN)
        assert space.genie.deleted == [of_ann]


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
async def test_a_query_is_cancelled_where_nobody_waits_for_it_and_goes_on_for_another_worker(
    tmp_path: Path, reason: CancelReason | None, cancelled: int
) -> None:
    async with a_space(tmp_path) as space:
        space.warehouse.hold()
        cancellation = Cancellation()
        asked = asyncio.create_task(space.ask(BY_MONTH, cancellation=cancellation))
        await space.until("EXECUTING_QUERY")
        if reason is not None:
            cancellation.cancel(reason)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        assert len(space.warehouse.cancelled) == cancelled
        space.warehouse.release()
        resumed = await space.ask(BY_MONTH)
        assert resumed.succeeded is not bool(cancelled)
        assert len(space.genie.asked) == 1


async def test_genies_own_time_limit_ends_the_query_and_says_what_to_do(tmp_path: Path) -> None:
    async with a_space(tmp_path) as space:
        space.warehouse.hold()
        asked = asyncio.create_task(space.ask(BY_MONTH, deadline=asyncio.get_running_loop().time() + 3.0))
        await space.until("EXECUTING_QUERY")
        result = await asked
        assert result.text.startswith("The tool failed: Genie took too long.")
        assert len(space.warehouse.cancelled) == 1


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "INVALID_PARAMETER_VALUE", "did not take the question"),
        (401, "UNAUTHENTICATED", "sign-in"),
        (403, "PERMISSION_DENIED", "CAN RUN"),
        (404, "RESOURCE_DOES_NOT_EXIST", "not there any more"),
        (429, "RESOURCE_EXHAUSTED", "only a few questions a minute"),
        (503, "TEMPORARILY_UNAVAILABLE", "cannot be reached"),
    ],
)
async def test_a_refusal_is_a_sentence_to_act_on(tmp_path: Path, status: int, code: str, said: str) -> None:
    async with a_space(tmp_path) as space:
        space.genie.refusals.extend([RefusedRequestError(status, code, "no")] * 4)
        result = await space.ask(BY_MONTH)
        assert not result.succeeded
        assert said in result.text
        assert space.genie.asked == []


@pytest.mark.parametrize(("state", "said"), [("cancelled", "was cancelled"), ("TOO_MANY_TABLES_EXCEPTION", "set up")])
async def test_a_message_without_an_answer_says_why(tmp_path: Path, state: str, said: str) -> None:
    async with a_space(tmp_path) as space:
        failed = MessagePlan(end="FAILED", error=(state, "x"))
        space.genie.plans.append(PLANS.get(state, failed))
        assert said in (await space.ask(BY_MONTH)).text


async def test_looks_that_fail_are_repeated_and_an_expired_result_is_read_by_running_the_query_again(
    tmp_path: Path,
) -> None:
    async with a_space(tmp_path) as space:
        space.genie.plans.append(PLANS["expired"])
        space.genie.failing_looks = 12
        result = await space.ask(BY_MONTH)
        assert rows_of(result)
        assert len(space.warehouse.executed) == 2


async def test_a_clarifying_question_and_another_subject_are_said_as_such(tmp_path: Path) -> None:
    async with a_space(tmp_path) as space:
        unclear = await space.ask("Who are our best customers?")
        assert "Ask the person exactly this" in unclear.text
        other = await space.ask("How many planets are there in total?", "2")
        assert "not about the data" in other.text
        assert not unclear.blocks + other.blocks


async def test_genies_own_image_comes_with_the_chart_where_charts_are_not_drawn(tmp_path: Path) -> None:
    async with a_space(tmp_path) as space:
        drawn = await space.ask(BY_MONTH, "1")
        shown = await space.ask(BY_MONTH, "2", shows_chart_images=True)
        none = await space.ask("What was the revenue in March 1997?", "3", shows_chart_images=True)
    images = [[block.image for block in result.blocks if isinstance(block, Chart)] for result in (drawn, shown, none)]
    assert (images[0], images[2]) == ([None], [])
    (image,) = images[1]
    assert image is not None
    assert b64decode(image.data).startswith(b"\x89PNG")
    assert image.alternative_text


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=404),
        web.Response(body=b"<html>", content_type="application/octet-stream"),
        web.Response(body=b"\x89PNG\r\n\x1a\n" + bytes(2_000_000), content_type="application/octet-stream"),
    ],
    ids=["gone", "no image", "too large"],
)
async def test_an_image_that_cannot_be_had_costs_nobody_the_result(
    answer: web.Response, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: object, request: web.Request) -> web.Response:
        return answer

    monkeypatch.setattr(GenieStandIn, "_download_visualization", refuse)
    async with a_space(tmp_path) as space:
        result = await space.ask(BY_MONTH, shows_chart_images=True)
    assert result.succeeded
    assert rows_of(result)
    assert [block.image for block in result.blocks if isinstance(block, Chart)] == [None]


async def test_more_questions_than_the_space_takes_wait_in_line_and_are_told_how_long(tmp_path: Path) -> None:
    shown: dict[str, list[str]] = {}
    async with a_space(tmp_path, GENIE_QUESTIONS_PER_MINUTE="2") as space:

        async def ask(person: str) -> ToolResult:
            conversation = ConversationKey(ANN.tenant, person)
            return await space.ask(BY_MONTH, person, conversation, progress=shown.setdefault(person, []).append)

        began = space.clock()
        results = await asyncio.gather(*map(ask, "abcd"))
        assert all(each.succeeded for each in results)
        waited = {person: lines[0] for person, lines in shown.items() if "others come first" in lines[0]}
        assert len(waited) == 2
        assert all("2 questions a minute" in line for line in waited.values())
        assert space.clock() - began >= 59


async def test_a_scheduled_question_stands_behind_people_who_come_later(tmp_path: Path) -> None:
    order: list[str] = []
    async with a_space(tmp_path, GENIE_QUESTIONS_PER_MINUTE="1") as space:

        async def ask(who: str, *, is_scheduled: bool = False) -> None:
            conversation = ConversationKey(ANN.tenant, who)
            assert (await space.ask(f"{BY_MONTH} {who}", who, conversation, is_scheduled=is_scheduled)).succeeded
            order.append(who)

        await ask("first")
        scheduled = asyncio.create_task(ask("scheduled", is_scheduled=True))
        await asyncio.sleep(0.01)
        await asyncio.gather(ask("second"), ask("third"), scheduled)
        assert order == ["first", "second", "third", "scheduled"]


async def test_who_gives_up_waiting_gives_the_place_to_the_next(tmp_path: Path) -> None:
    async with a_space(tmp_path, GENIE_QUESTIONS_PER_MINUTE="1") as space:
        assert (await space.ask(BY_MONTH)).succeeded
        impatient = asyncio.create_task(space.ask(BY_REGION, "2", BOB))
        await asyncio.sleep(0.02)
        impatient.cancel()
        with suppress(asyncio.CancelledError):
            await impatient
        began = space.clock()
        assert (await space.ask(BY_REGION, "3")).succeeded
        assert space.clock() - began < 75, "the place of who gave up stayed taken"


async def test_a_wait_longer_than_the_question_may_take_is_refused_in_words(tmp_path: Path) -> None:
    # Little more than an answer takes: the first question may have used up most of the minute.
    async with a_space(tmp_path, GENIE_QUESTIONS_PER_MINUTE="1", GENIE_TIMEOUT_SECONDS="46") as space:
        assert (await space.ask(BY_MONTH)).succeeded
        assert "only a few questions a minute" in (await space.ask(BY_REGION, "2", BOB)).text
        assert space.genie.asked == [BY_MONTH]


async def test_where_genie_refuses_for_now_the_question_waits_and_is_asked_again(tmp_path: Path) -> None:
    async with a_space(tmp_path, GENIE_QUESTIONS_PER_MINUTE="5") as space:
        space.genie.refusals.extend([RefusedRequestError(429, "RESOURCE_EXHAUSTED", "no")] * 4)
        shown: list[str] = []
        assert (await space.ask(BY_MONTH, progress=shown.append)).succeeded
        assert "others come first" in shown[0]
        assert space.genie.asked == [BY_MONTH]


async def test_the_same_question_runs_the_known_sql_again_and_says_so(tmp_path: Path) -> None:
    async with a_space(tmp_path, GENIE_REPEAT_SECONDS="600") as space:
        first = await space.ask(BY_MONTH)
        again = await space.ask(f"  {BY_MONTH.upper()[:-1]}", "2", BOB)
        assert again.succeeded
        assert isinstance(again.blocks[0], Text)
        assert "its SQL has run again" in again.blocks[0].text
        assert "has run again" not in again.text, "the model would say it a second time"
        assert rows_of(again) == rows_of(first)
        assert (len(space.genie.asked), len(space.warehouse.executed)) == (1, 2)
        assert (await space.ask(BY_REGION, "3")).succeeded
        assert (await space.ask(BY_REGION, "4", BOB)).succeeded
        assert len(space.genie.asked) == 3, "what a follow-up means depends on the conversation"
        space.clock.now += 601
        await space.ask(BY_MONTH, "5")
        assert len(space.genie.asked) == 4


async def test_what_a_chat_forgets_is_no_known_question_any_more(tmp_path: Path) -> None:
    async with a_space(tmp_path, GENIE_REPEAT_SECONDS="600") as space:
        await space.ask(BY_MONTH)
        await space.tools.forget(ANN)
        result = await space.ask(BY_MONTH, "2", BOB)
        assert result.succeeded
        assert len(space.genie.asked) == 2


async def test_a_known_query_that_is_gone_is_asked_anew(tmp_path: Path) -> None:
    async with a_space(tmp_path, GENIE_REPEAT_SECONDS="600") as space:
        await space.ask(BY_MONTH)
        space.genie.delete(space.genie.messages()[0].conversation_id)
        assert (await space.ask(BY_MONTH, "2", BOB)).succeeded
        assert len(space.genie.asked) == 2


async def test_genie_is_asked_at_its_own_address_and_statements_are_cancelled_at_the_workspace(tmp_path: Path) -> None:
    token = PersonalAccessToken(SecretStr(DATA_TOKEN))
    async with data_workspace() as cache, data_workspace() as data, workspace_at(data.url, token) as workspace:
        store = SqliteStore(tmp_path / "agent.sqlite")
        settings = GenieSettings.model_validate({"GENIE_SPACES": SPACE_ID, "GENIE_BASE_URL": cache.url})
        results = StoredResults(store.artifacts())
        tools = GenieTools(settings, workspace, store.documents(), results, sleep=at_once)
        registry = ToolRegistry(list(await tools.tools(UNKNOWN_CALLER)))
        call = ToolCall("1", registry.tools[0].name, json.dumps({"question": BY_MONTH}))
        assert (await registry.run(call, tool_context())).succeeded
        assert (cache.genie.asked, data.genie.asked) == ([BY_MONTH], [])
        await tools.close()
        await store.close()


async def test_all_spaces_that_the_identity_may_see_are_offered_page_by_page_and_fifty_at_most(tmp_path: Path) -> None:
    async with a_space(tmp_path, GENIE_SPACES="all") as space:
        odd = [StandInSpace("../x", "Not an id"), StandInSpace("01ef00", "Sales", "x" * 5_000)]
        space.genie.spaces[:] = odd + [StandInSpace(f"01f0{n:028x}", "Sales", "Orders") for n in range(120)]
        space.clock.now += 601
        tools = [each for each in await space.tools.tools(UNKNOWN_CALLER) if isinstance(each, Tool)]
        assert len(tools) == len({tool.name for tool in tools}) == 50
        assert all(len(tool.description) <= 1_300 for tool in tools)


async def test_spaces_that_cannot_be_listed_are_said_to_be_unavailable(tmp_path: Path) -> None:
    async with workspace_at("http://127.0.0.1:9", sleep=at_once) as nowhere:
        store = SqliteStore(tmp_path / "agent.sqlite")
        settings = GenieSettings.model_validate({"GENIE_SPACES": "all"})
        tools = GenieTools(settings, nowhere, store.documents(), StoredResults(store.artifacts()))
        (unavailable,) = await tools.tools(UNKNOWN_CALLER)
        await store.close()
    assert isinstance(unavailable, UnavailableTools)
    assert "cannot be reached" in unavailable.reason.english
