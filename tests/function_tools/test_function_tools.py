"""Functions behind queues as tools: asked once, whichever worker makes the call."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.common.caller import UNKNOWN_CALLER
from app.storage.remote_queue import RemoteQueueRefusedError
from app.tools.base import Effect
from app.tools.registry import ToolRegistry
from tests.function_tools.function_workers import LISBON, WEATHER, Workers, context, ended, now, run, told


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
