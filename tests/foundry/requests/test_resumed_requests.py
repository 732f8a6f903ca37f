"""What is known of a request that another worker goes on with, and one that ends while it takes it. In virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from app.foundry.requests.tool_requests import REQUEST_QUEUE
from tests.fakes.foundry_requests import LEASE_SECONDS, RequestHarness, in_virtual_time, request_of
from tests.foundry.test_one_trace import Spans


@in_virtual_time
async def test_a_request_that_another_worker_answers_stays_one_trace_and_is_counted(harness: RequestHarness) -> None:
    harness.telemetry = spans = Spans()
    request = replace(request_of(), traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    first, second = harness.worker(), harness.worker()
    async with first.killed(request, 2):
        await harness.later(second, 60)
    assert {f"{span.trace_id:032x}" for span in spans.ended} == {"a" * 32}
    assert spans.counted("agent.turns.resumed", **{"bot.channel": "foundry"}) == 1


# A call of storage takes 40 ms; after the last moment the tool is asked.
@pytest.mark.parametrize("milliseconds", [1, 30, 50, 90, 130, 200])
def test_a_worker_that_ends_while_it_takes_a_request_from_the_queue_leaves_it_to_another(
    milliseconds: int, tmp_path: Path
) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        first, second, third = harness.worker(), harness.worker(), harness.worker()
        async with first.killed(request_of(), 2):
            await asyncio.sleep(LEASE_SECONDS + 1)
            (message,) = await harness.store.queue(REQUEST_QUEUE).receive(16, visibility_timeout=600)
            taking = asyncio.create_task(second.requests.process_message(message.body.encode()))
            await asyncio.sleep(milliseconds / 1000)
            await second.requests.close()
            await asyncio.wait([taking])
            assert taking.exception() is not None, "the host would delete the message"
            # The host shows the message again at once.
            await third.requests.process_message(message.body.encode())
            await harness.later(third, 60)
        assert [id for id, _ in await harness.answers()] == ["call_1"]

    script(tmp_path)
