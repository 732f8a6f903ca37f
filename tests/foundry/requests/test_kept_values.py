"""How long the value of a request is known."""

from __future__ import annotations

import asyncio

from app.foundry.requests.tool_request import KeptValue
from app.foundry.requests.tool_requests import LOST
from tests.fakes.foundry_requests import RequestHarness, in_virtual_time, request_of


@in_virtual_time
async def test_a_value_is_known_for_two_days_and_then_deleted(harness: RequestHarness) -> None:
    worker = harness.worker()
    value = await worker.requests.answer(request_of())
    for hours, known in ((47, value), (2, KeptValue(LOST, failed=True))):
        await asyncio.sleep(hours * 3600)
        await harness.store.documents().delete_expired()
        assert await worker.requests.find("ask", "call_1") == known
