"""Passes one after the other: failures, hanging passes and SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from app.jobs.pass_loop import Heartbeat, PassLoop, seconds_of
from tests.fakes.virtual_time import VirtualTimeLoop

Passes = list[Callable[[], Awaitable[object]]]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("90s", 90), (" 2H ", 7200), ("1d", 86400), ("10s", 10), ("7d", 604800)]
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-5m", "1.5h", "30 m", "9s", "8d", "٣٠m", "99999999999m", "1h30m"])
def test_what_is_no_length_of_time_is_said_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30m"):
        seconds_of(text)


class Run:
    """`passes` in their order; the loop is stopped in the last."""

    def __init__(self, passes: Passes, every_seconds: float = 1800.0) -> None:
        self.began: list[float] = []
        self.beats = 0
        self._left = passes
        self.loop = PassLoop(self._run_pass, every_seconds, beat=self._beat)

    async def _beat(self) -> None:
        self.beats += 1

    async def _run_pass(self) -> object:
        self.began.append(asyncio.get_running_loop().time() - 1000.0)
        act = self._left.pop(0)
        if not self._left:
            self.loop.stop()
        return await act()

    def run(self) -> float:
        async def timed() -> float:
            await self.loop.run()
            return asyncio.get_running_loop().time() - 1000.0

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(timed())


async def well() -> None:
    await asyncio.sleep(60)


async def shortly() -> None:
    await asyncio.sleep(5)


async def fails() -> None:
    raise OSError("the workspace is away")


async def hangs() -> None:
    await asyncio.sleep(1e9)


async def cancels_itself() -> None:
    raise TimeoutError


def test_a_pass_that_fails_or_hangs_does_not_end_the_loop_and_beats_no_heart(caplog: pytest.LogCaptureFixture) -> None:
    run = Run([well, fails, hangs, cancels_itself, shortly])
    with caplog.at_level(logging.ERROR):
        run.run()
    assert run.began == [0.0, 1800.0, 3600.0, 5400.0, 7200.0]
    assert run.beats == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3


def test_a_pass_that_takes_longer_than_its_turn_is_followed_at_once_by_one_other() -> None:
    async def long() -> None:
        await asyncio.sleep(600)

    run = Run([long, well, well], every_seconds=30.0)
    run.run()
    assert run.began == [0.0, 600.0, 660.0]


def test_the_pass_at_hand_may_end_when_the_process_is_told_to_stop() -> None:
    run = Run([shortly])
    assert run.run() == 5.0
    assert run.beats == 1


def test_a_pass_that_would_take_too_long_to_stop_is_cancelled() -> None:
    run = Run([hangs])
    assert run.run() == 8.0
    assert run.beats == 0


def test_a_loop_that_waits_is_stopped_at_once() -> None:
    run = Run([well, well])

    async def stopped() -> float:
        looping = asyncio.create_task(run.loop.run())
        await asyncio.sleep(100)
        run.loop.stop()
        await looping
        return asyncio.get_running_loop().time() - 1000.0

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(stopped()) == 100.0
    assert run.began == [0.0]


async def test_a_heartbeat_asks_its_address_once(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return web.Response(status=200 if request.path.startswith("/ping") else 404)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(application)
    await server.start_server()
    heartbeats = [Heartbeat(SecretStr(str(server.make_url(path)))) for path in ("/ping/s3cret", "/gone/s3cret")]
    for heartbeat in heartbeats:
        await heartbeat.beat()
    await server.close()
    await heartbeats[0].beat()
    assert asked == ["GET /ping/s3cret", "GET /gone/s3cret"]
    assert len(caplog.records) == 2
    assert "s3cret" not in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_loop(number: signal.Signals) -> None:
    async def run_pass() -> None:
        os.kill(os.getpid(), number)

    looping = PassLoop(run_pass, 3600.0)
    looping.stop_at_signals()
    try:
        async with asyncio.timeout(5):
            await looping.run()
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(each)
