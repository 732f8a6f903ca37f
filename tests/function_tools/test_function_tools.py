"""Functions behind queues as tools: asked once, whichever worker makes the call and whichever one reads the answer."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.common.caller import UNKNOWN_CALLER
from app.function_tools.function_calls import CALLS, FunctionCalls
from app.function_tools.function_messages import FunctionAnswer
from app.function_tools.function_tools import FunctionTools
from app.models.model import ToolCall
from app.resilience.circuit_breaker import CircuitOpenError
from app.settings.function_tool_settings import FunctionToolSettings
from app.storage.conversations import ConversationKey
from app.storage.documents import Document, DocumentKey, DocumentStore
from app.storage.remote_queue import RemoteQueueBusyError, RemoteQueueRefusedError
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from app.tools.base import Effect, ToolContext, ToolResult
from app.tools.registry import ToolRegistry
from tests.fakes.function_queues import FunctionQueues
from tests.fakes.tools import tool_context, without_data_marks
from tests.fakes.virtual_time import VirtualTimeLoop

WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "endpoint": "https://functions.queue.core.windows.net/",
    "input_queue": "fn-in",
    "output_queue": "fn-out",
    "timeout_seconds": 60,
}
LISBON = ToolCall("1", "weather", '{"city": "Lisbon"}')


class Workers:
    """Workers of one app: they share storage and the function's queues."""

    def __init__(self, folder: Path, *functions: dict[str, Any]) -> None:
        self.queues = FunctionQueues()
        self.store = SqliteStore(folder / "agent.sqlite", clock=self.clock)
        self.documents = self.store.documents()
        named = json.dumps(functions or [WEATHER])
        self.settings = FunctionToolSettings.model_validate({"FUNCTION_TOOLS": named})
        self.providers: list[FunctionTools] = []

    def clock(self) -> float:
        return 1_800_000_000.0 + asyncio.get_running_loop().time()

    async def provider(self, documents: DocumentStore | None = None) -> FunctionTools:
        made = FunctionTools(self.settings, documents or self.documents, self.queues.open, clock=self.clock)
        self.providers.append(made)
        return made

    async def registry(self) -> ToolRegistry:
        return ToolRegistry(await (await self.provider()).tools(UNKNOWN_CALLER))

    async def close(self) -> None:
        for each in self.providers:
            await each.close()
        await self.store.close()


Scenario = Callable[[Workers], Awaitable[None]]


def run(folder: Path, scenario: Scenario, *functions: dict[str, Any]) -> None:
    async def whole() -> None:
        workers = Workers(folder, *functions)
        try:
            async with asyncio.timeout(3600):
                await scenario(workers)
        finally:
            await workers.close()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(whole())


def told(result: ToolResult) -> str:
    return without_data_marks(result.text)


def context(key: str = "turn-1-1") -> ToolContext:
    return replace(tool_context(), idempotency_key=key)


async def ended(task: asyncio.Task[Any]) -> None:
    """As a worker that is killed: nothing of it goes on."""
    task.cancel()
    await asyncio.wait({task})


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_function_is_asked_as_foundry_asks_it_and_its_answer_is_the_tools(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        call = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        assert question.pop("traceparent").startswith("00-")
        assert question == {"function_args": {"city": "Lisbon"}, "CorrelationId": question["CorrelationId"]}
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        asked_at = now()
        result = await call
        assert (told(result), result.succeeded) == ("Sunny", True)
        assert now() - asked_at < 2.5
        assert workers.queues.named("fn-in").times_to_live == [60]
        await asyncio.sleep(5)
        assert workers.queues.named("fn-out").messages.bodies == []
        # Nothing is read where nobody waits.
        reads = workers.queues.named("fn-out").reads
        await asyncio.sleep(600)
        assert workers.queues.named("fn-out").reads == reads

    run(tmp_path, scenario)


def test_one_that_only_reads_needs_no_approval_and_every_other_does(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        by_name = {tool.name: tool for tool in (await workers.registry()).tools}
        assert by_name["weather"].effect is Effect.NEEDS_APPROVAL
        assert by_name["tides"].effect is Effect.READ_ONLY
        assert all(tool.is_resumable for tool in by_name.values())

    run(tmp_path, scenario, WEATHER, {**WEATHER, "name": "tides", "reads_only": True})


@pytest.mark.parametrize("arguments", ["{}", '{"city": 7}'])
def test_arguments_that_are_not_as_described_are_told_and_not_sent(tmp_path: Path, arguments: str) -> None:
    async def scenario(workers: Workers) -> None:
        result = await (await workers.registry()).run(replace(LISBON, arguments=arguments), context())
        assert "its arguments are not as described" in told(result)
        assert "city" in told(result)
        assert not workers.queues.named("fn-in").put_at

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "city", [{"type": "nonsense"}, {"type": "string", "pattern": "("}, {"$ref": "#/$defs/missing"}, {"enum": 7}]
)
def test_a_schema_that_is_none_is_said_and_nothing_is_sent(tmp_path: Path, city: dict[str, Any]) -> None:
    async def scenario(workers: Workers) -> None:
        result = await (await workers.registry()).run(LISBON, context())
        assert "its schema is not valid; an administrator can correct it in FUNCTION_TOOLS" in told(result)
        assert not workers.queues.named("fn-in").put_at

    run(tmp_path, scenario, {**WEATHER, "parameters": {"type": "object", "properties": {"city": city}}})


def test_arguments_that_are_too_long_for_a_queue_are_told_and_not_sent(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        long = json.dumps({"city": "x" * 49_100})
        result = await (await workers.registry()).run(replace(LISBON, arguments=long), context())
        assert "too long for a queue" in told(result)
        assert not workers.queues.named("fn-in").put_at

    run(tmp_path, scenario)


# Moments at which a worker is told to stop, in hundredths of a second after its call; a request takes one of them.
@pytest.mark.parametrize("hundredths", [0, 1, 2, 5, 50, 400])
def test_a_call_that_another_worker_goes_on_with_is_sent_once_and_never_lost_at_a_hand_over(
    tmp_path: Path, hundredths: int
) -> None:
    async def scenario(workers: Workers) -> None:
        first = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        await asyncio.sleep(hundredths / 100 + 0.005)
        await ended(first)
        second = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        serving = asyncio.create_task(workers.queues.serve(lambda asked: f"Sunny in {asked['function_args']['city']}"))
        assert told(await second) == "Sunny in Lisbon"
        assert len(workers.queues.named("fn-in").put_at) == 1
        await ended(serving)

    run(tmp_path, scenario)


def test_a_resumed_call_waits_for_its_answer_though_nothing_can_be_asked_now(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        first = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        await ended(first)
        workers.queues.named("fn-in").fails = RemoteQueueRefusedError("AuthorizationFailure")
        second = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        assert told(await second) == "Sunny"

    run(tmp_path, scenario)


def test_two_workers_that_make_the_same_call_at_once_ask_once_and_hear_the_same(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        registries = [await workers.registry() for _ in range(3)]
        serving = asyncio.create_task(workers.queues.serve(lambda _: "Sunny", seconds=4))
        results = await asyncio.gather(*(each.run(LISBON, context()) for each in registries))
        assert [told(each) for each in results] == ["Sunny"] * 3
        assert len(workers.queues.named("fn-in").put_at) == 1
        again = await (await workers.registry()).run(LISBON, context())
        assert told(again) == "Sunny", "the answer is kept for a turn that is resumed later"
        assert len(workers.queues.named("fn-in").put_at) == 1
        await ended(serving)

    run(tmp_path, scenario)


def test_calls_with_other_keys_or_other_arguments_are_calls_of_their_own(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        registry = await workers.registry()
        serving = asyncio.create_task(workers.queues.serve(lambda asked: asked["function_args"]["city"]))
        porto = replace(LISBON, arguments='{"city": "Porto"}')
        calls = [(LISBON, "turn-1-1"), (LISBON, "turn-1-2"), (porto, "turn-1-1")]
        results = await asyncio.gather(*(registry.run(call, context(key)) for call, key in calls))
        assert [told(each) for each in results] == ["Lisbon", "Lisbon", "Porto"]
        assert len(workers.queues.named("fn-in").put_at) == 3
        await ended(serving)

    run(tmp_path, scenario)


def test_any_worker_reads_any_answer(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        other = await workers.provider()
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        await other.sweep()
        assert workers.queues.named("fn-out").messages.bodies == []
        assert told(await waiting) == "Sunny"

    run(tmp_path, scenario)


def test_an_answer_whose_reader_died_is_read_by_another(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        out = workers.queues.named("fn-out").messages
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        await out.receive(1, visibility_timeout=30)
        assert told(await waiting) == "Sunny"

    run(tmp_path, scenario)


def test_of_two_answers_to_one_call_the_first_stays(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        calls = FunctionCalls(workers.documents, clock=workers.clock)
        _, is_new = await calls.begin("c-1")
        assert is_new
        kept = await asyncio.gather(*(calls.keep(FunctionAnswer("c-1", str(n))) for n in range(5)))
        assert all(kept)
        first = await calls.find("c-1")
        assert await calls.keep(FunctionAnswer("c-1", "later"))
        assert await calls.find("c-1") == first

    run(tmp_path, scenario)


def test_a_function_that_does_not_answer_in_time_is_told_once_its_time_is_over_in_any_worker(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        began = now()
        first = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        await asyncio.sleep(40)
        await ended(first)
        result = await (await workers.registry()).run(LISBON, context())
        assert "has not answered in time; whether it did what it was asked is not known" in told(result)
        assert not result.succeeded
        assert 59 <= now() - began < 64

    run(tmp_path, scenario)


def test_what_nobody_waits_for_is_swept_and_its_message_is_named_but_not_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(workers: Workers) -> None:
        provider = await workers.provider()
        await workers.queues.answer({"Value": "secret words", "CorrelationId": "of-nobody"})
        await workers.queues.answer("secret words, and no JSON")
        for _ in range(70):
            await workers.queues.answer({"Value": "late", "CorrelationId": "of-nobody"})
        await provider.sweep()
        assert workers.queues.named("fn-out").messages.bodies == []

    with caplog.at_level(logging.INFO):
        run(tmp_path, scenario)
    assert "Message message-0 on fn-out answers no call of this app, and is dropped" in caplog.text
    assert "Message message-2 on fn-out is no answer, and is dropped: neither JSON nor base64 of it" in caplog.text
    assert "secret" not in caplog.text


def test_an_answer_that_cannot_be_kept_keeps_no_other_from_being_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        await workers.documents.put(Document(DocumentKey(CALLS, "function_tools", "damaged"), "no JSON"))
        await workers.queues.answer({"Value": "Rain", "CorrelationId": "damaged"})
        await asyncio.sleep(5)
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        assert told(await waiting) == "Sunny"

    run(tmp_path, scenario)
    assert re.search(r"The answer in message message-\d+ on fn-out could not be kept", caplog.text)


def test_an_answer_that_storage_does_not_keep_stays_on_its_queue(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        await ended(waiting)

        class Away:
            async def get(self, _key: object) -> None:
                raise StorageError("away")

        broken: Any = Away()
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        await (await workers.provider(broken)).sweep()
        assert len(workers.queues.named("fn-out").messages.bodies) == 1
        assert told(await (await workers.registry()).run(LISBON, context())) == "Sunny"

    run(tmp_path, scenario)


def test_forgetting_a_conversation_deletes_its_calls_and_ends_those_that_wait(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        provider = await workers.provider()
        registry = ToolRegistry(await provider.tools(UNKNOWN_CALLER))
        here = context().conversation
        keys = [here, replace(here, thread="t1"), ConversationKey("tenant", "another")]
        waiting = [asyncio.create_task(registry.run(LISBON, replace(context(), conversation=key))) for key in keys]
        await asyncio.sleep(1)
        await provider.forget(here)
        await asyncio.sleep(4)
        assert [task.done() for task in waiting] == [True, False, False]
        assert "was forgotten" in told(waiting[0].result())
        await provider.forget(here, threads=True)
        await asyncio.sleep(4)
        assert [task.done() for task in waiting] == [True, True, False]
        left = await workers.documents.list_page(CALLS, "function_tools")
        assert len(left.documents) == 1
        await ended(waiting[2])

    run(tmp_path, scenario)


def test_a_queue_that_refuses_is_told_at_once_and_leaves_no_call(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        registry, began = await workers.registry(), now()
        workers.queues.named("fn-in").put_fails = RemoteQueueRefusedError("HttpResponseError AuthorizationFailure")
        workers.queues.named("fn-in").put_is_kept = False
        result = await registry.run(LISBON, context())
        assert "weather was not asked: its queue is missing or refuses access" in told(result)
        assert now() - began < 1
        assert not (await workers.documents.list_page(CALLS, "function_tools")).documents

    run(tmp_path, scenario)


def test_a_queue_that_is_busy_is_tried_again_when_it_says(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        registry, queue = await workers.registry(), workers.queues.named("fn-in")
        queue.put_fails, queue.put_is_kept = RemoteQueueBusyError("ServerBusy", 6.0), False
        serving = asyncio.create_task(workers.queues.serve(lambda _: "Sunny"))
        call = asyncio.create_task(registry.run(LISBON, context()))
        await asyncio.sleep(1)
        queue.put_fails = None
        assert told(await call) == "Sunny"
        first, second = queue.put_at
        assert second - first >= 6
        await ended(serving)

    run(tmp_path, scenario)


def test_a_queue_that_stays_busy_was_not_asked(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        registry, queue = await workers.registry(), workers.queues.named("fn-in")
        queue.put_fails, queue.put_is_kept = RemoteQueueBusyError("ServerBusy"), False
        began = now()
        result = await registry.run(LISBON, context())
        assert "weather was not asked: its queue does not answer" in told(result)
        assert 2 <= len(queue.put_at) <= 4
        assert now() - began < 20

    run(tmp_path, scenario)


@pytest.mark.parametrize("kept", [True, False])
def test_a_question_of_which_it_is_not_known_whether_it_was_put_is_not_sent_again(tmp_path: Path, kept: bool) -> None:
    async def scenario(workers: Workers) -> None:
        registry, queue = await workers.registry(), workers.queues.named("fn-in")
        queue.put_fails, queue.put_is_kept = StorageError("TimeoutError"), kept
        serving = asyncio.create_task(workers.queues.serve(lambda _: "Sunny"))
        result = await registry.run(LISBON, context())
        assert told(result) == "Sunny" if kept else "is not known" in told(result)
        assert len(queue.put_at) == 1
        await ended(serving)

    run(tmp_path, scenario)


def test_a_remote_that_hangs_is_left_alone_slows_no_other_and_is_used_again_once_it_answers(tmp_path: Path) -> None:
    tides = {**WEATHER, "name": "tides", "endpoint": "https://slow.queue.core.windows.net", "input_queue": "slow-in"}
    tides["output_queue"] = "slow-out"

    async def scenario(workers: Workers) -> None:
        provider = await workers.provider()
        registry = ToolRegistry(await provider.tools(UNKNOWN_CALLER))
        slow = [workers.queues.named("slow-in"), workers.queues.named("slow-out")]
        for queue in slow:
            queue.hangs = True
        serving = asyncio.create_task(workers.queues.serve(lambda _: "Sunny"))
        ask_tides = ToolCall("1", "tides", '{"city": "Lisbon"}')
        hanging = [asyncio.create_task(registry.run(ask_tides, context(f"t-{n}"))) for n in range(20)]
        for n in range(30):
            began = now()
            assert told(await registry.run(LISBON, context(f"w-{n}"))) == "Sunny"
            assert now() - began < 2.5
        await asyncio.wait(hanging)
        await refused(provider)
        # Nothing is sent, and nobody waits.
        asked, began = len(slow[0].put_at), now()
        assert "was not asked" in told(await registry.run(ask_tides, context("t-99")))
        assert (len(slow[0].put_at), now()) == (asked, began)
        for queue in slow:
            queue.hangs = False
        await asyncio.sleep(20)
        await provider.check()
        again = asyncio.create_task(registry.run(ask_tides, context("t-100")))
        question = await workers.queues.asked("slow-in")
        await workers.queues.answer({"Value": "High", "CorrelationId": question["CorrelationId"]}, "slow-out")
        assert told(await again) == "High"
        await ended(serving)

    run(tmp_path, scenario, WEATHER, tides)


async def refused(provider: FunctionTools) -> None:
    """Until its breaker is open: now and then it lets one call through."""
    for _ in range(9):
        try:
            await provider.check()
        except CircuitOpenError:
            return
        except StorageError:
            continue
    raise AssertionError("every call is let through")


def test_closing_ends_the_reader_and_closes_each_queue_once(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        provider = await workers.provider()
        registry = ToolRegistry(await provider.tools(UNKNOWN_CALLER))
        call = asyncio.create_task(registry.run(LISBON, context()))
        await asyncio.sleep(1)
        await ended(call)
        await provider.close()
        assert [queue.closed for queue in workers.queues.queues.values()] == [1, 1]
        reads = workers.queues.named("fn-out").reads
        await asyncio.sleep(60)
        assert workers.queues.named("fn-out").reads == reads
        workers.providers.clear()

    run(tmp_path, scenario)
