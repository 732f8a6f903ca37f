"""The order of requests with one `conversation`, where workers receive them in another one. In virtual time."""

from __future__ import annotations

import asyncio

from tests.fakes.foundry_requests import RequestHarness, in_virtual_time, now, request_of


@in_virtual_time
async def test_an_older_request_that_another_worker_receives_a_second_later_is_answered_first(
    harness: RequestHarness,
) -> None:
    await asyncio.sleep(1000)
    one, other, put_at = harness.worker(), harness.worker(), now() - 10
    younger = asyncio.create_task(one.requests.answer(request_of(2, conversation="c", inserted_at=put_at + 1)))
    await asyncio.sleep(1)
    await other.requests.answer(request_of(1, conversation="c", inserted_at=put_at))
    await younger
    assert harness.calls.made == ["question 1", "question 2"]
