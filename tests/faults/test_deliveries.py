"""A repeat does not wait until the first delivery is acknowledged, and is brought until it is taken."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp import web

from tests.faults.deliveries import Deliveries
from tests.faults.plan import Kind, Question, make_plan


async def test_a_repeat_comes_while_the_first_is_being_answered_and_again_until_it_is_taken() -> None:
    began = time.monotonic()
    calls = 0
    repeated = asyncio.Event()

    async def take(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            await repeated.wait()
        if calls == 2:
            return web.Response(status=503)
        repeated.set()
        return web.Response(status=200)

    application = web.Application()
    application.router.add_post("/", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    worker = SimpleNamespace(name="1.1", endpoint=f"http://127.0.0.1:{runner.addresses[0][1]}/")
    question = Question("q", Kind.TEAMS, "a:c", "What?", "That.", 0.0, 0.1, 1.0, repeated_after=0.05)
    try:
        async with aiohttp.ClientSession() as client, asyncio.timeout(10):
            workers = cast(Any, SimpleNamespace(current=[worker]))
            deliveries = Deliveries(client, workers, "http://127.0.0.1/", 1, lambda: time.monotonic() - began)
            await deliveries.deliver(question)
    finally:
        await runner.cleanup()
    assert [(each.repeat, each.answer) for each in deliveries.all] == [(False, 200), (True, 503), (True, 200)]
    first, _, again = deliveries.all
    assert first.ended_at is not None
    assert again.at < first.ended_at
    assert not deliveries.never_taken


def test_every_tenth_message_is_delivered_again_1_to_20_seconds_after_it_was_first_sent() -> None:
    questions = make_plan(7, questions=300, conversations=60, seconds=75, workers=3).questions
    again = [question.repeated_after for question in questions[::10]]
    assert all(after is not None and 1 <= after <= 20 for after in again)
    assert sum(question.repeated_after is not None for question in questions) == 30
