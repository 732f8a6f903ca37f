"""What becomes of calls while the queue of their function refuses, is busy or hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.common.caller import UNKNOWN_CALLER
from app.function_tools.function_calls import CALLS
from app.function_tools.function_tools import FunctionTools
from app.models.model import ToolCall
from app.resilience.circuit_breaker import CircuitOpenError
from app.storage.remote_queue import RemoteQueueBusyError, RemoteQueueRefusedError
from app.storage.storage_errors import StorageError
from app.tools.registry import ToolRegistry
from tests.function_tools.function_workers import LISBON, WEATHER, Workers, context, ended, now, run, told


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
