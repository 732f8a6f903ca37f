"""What it costs when the worker that goes on with a turn is killed too, with the time for which Azure's host hides a
message that it has taken: ten minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from app.bot.channel import TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.local.host_json import QueueOptions
from app.local.indexing import QueueFunction
from app.local.queue_trigger import QueueListener
from tests.fakes.chat import Behind, ends_with
from tests.fakes.turn_harness import LEASE, TurnHarness, Worker, now, played

# Seconds.
AZURE_LOCK_SECONDS = 600.0
POLLED_EVERY = 2.0
ANSWERED_IN = 6.0
# What a storage call takes here; the host deletes or hides its message with one, too.
ROUND_TRIP = 0.01
# The row is read, the turns before it are looked for, and the message of the next worker is put.
UNTIL_ITS_OWN_MESSAGE = 3 * ROUND_TRIP


class Host:
    """A Functions host with one worker, which can be killed."""

    def __init__(self, harness: TurnHarness) -> None:
        self.worker: Worker = harness.worker()
        self.taken_at = 0.0
        self._taken = asyncio.Event()
        function = QueueFunction("process_queue_message", "turns", "AzureWebJobsStorage", "msg", False, self._resume)
        receiver = cast(Any, Behind(harness.store.queue("turns"), self.worker.wire))
        options = QueueOptions(max_polling_interval_seconds=POLLED_EVERY)
        self._listener = QueueListener(function, receiver, None, options, lock_seconds=AZURE_LOCK_SECONDS)
        self._listening = asyncio.create_task(self._listener.run())

    async def _resume(self, msg: Any) -> None:
        self.taken_at = now()
        self._taken.set()
        await self.worker.resume(msg.get_body().decode())

    async def killed(self, after: float) -> float:
        """So many seconds after it has taken a turn up; when it was."""
        await self._taken.wait()
        await asyncio.sleep(after)
        self.worker.wire.cut()
        return now()

    async def end(self) -> None:
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening


async def seconds_until_answered(harness: TurnHarness, after: float) -> float:
    """From the second kill."""
    first = harness.worker()
    asking = asyncio.create_task(first.ask())
    await asyncio.sleep(0.5)
    first.wire.cut()
    async with ends_with(asking):
        second = Host(harness)
        killed = await second.killed(after)
        third = Host(harness)
        while not harness.chat.messages:
            await asyncio.sleep(0.1)
            assert now() - killed < 2 * AZURE_LOCK_SECONDS, "nobody answers"
        answered = now()
        for host in (second, third):
            await host.end()
    return answered - killed


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, TEAMS_GROUP], ids=lambda channel: channel.name)
def test_a_second_kill_costs_a_lease_again_and_ten_minutes_only_before_the_next_message_is_put(
    channel: Channel, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    cost: dict[float, float] = {}
    for number in range(24):
        after = round(0.003 + (0.005 * number if number < 12 else 0.06 + 0.25 * (number - 12)), 3)

        async def script(harness: TurnHarness, after: float = after) -> None:
            cost[after] = await seconds_until_answered(harness, after)

        played(channel, tmp_path / str(number), script)
    soon = LEASE + 2 * POLLED_EVERY + ANSWERED_IN
    slow = {after: seconds for after, seconds in cost.items() if seconds > soon}
    assert all(after <= UNTIL_ITS_OWN_MESSAGE for after in slow), slow
    assert all(seconds <= AZURE_LOCK_SECONDS + soon for seconds in slow.values()), slow
    quick = [seconds for after, seconds in cost.items() if after not in slow]
    figure(
        f"{channel.name}: killed {max(slow, default=0.0) * 1000:.0f} ms or less after it took the turn up, a storage "
        f"call taking {ROUND_TRIP * 1000:.0f} ms: answered {max(slow.values(), default=0.0):.0f} s after that at most; "
        f"killed later: {max(quick):.0f} s at most, a lease of {LEASE:.0f} s included"
    )
