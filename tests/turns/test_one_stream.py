"""One stream a chat, whoever asks how much at once, and whichever workers answer; in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from app.bot.channel import COPILOT, TEAMS_PERSONAL, Channel
from app.storage.ledger import TurnKey
from tests.fakes.chat import Wire, ends_with
from tests.fakes.turn_harness import ANN, ANSWER, LEASE, TurnHarness, moments, now, plain, played, played_at

STREAMS = [TEAMS_PERSONAL, COPILOT]
in_streams = pytest.mark.parametrize("channel", STREAMS, ids=lambda channel: channel.name)


def watched(harness: TurnHarness) -> dict[Wire, list[tuple[float, str]]]:
    """When each worker posts what: the type of the activity, or its kind in a stream."""
    seen: dict[Wire, list[tuple[float, str]]] = {}
    through = harness.chat.through

    def watching(wire: Wire) -> Any:
        sender = through(wire)
        post = sender.post

        async def noted(activity: dict[str, Any], *, retry: bool = True) -> str | None:
            kinds = [entity["streamType"] for entity in activity.get("entities", ()) if "streamType" in entity]
            seen.setdefault(wire, []).append((now(), kinds[0] if kinds else activity["type"]))
            return await post(activity, retry=retry)

        sender.post = noted  # type: ignore[method-assign]
        return sender

    harness.chat.through = watching  # type: ignore[method-assign]
    return seen


@in_streams
def test_who_asks_while_an_answer_streams_elsewhere_sees_typing_and_streams_when_that_has_ended(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        seen = watched(harness)
        first, second = harness.worker(20), harness.worker(8)
        one = asyncio.create_task(first.ask("How?", "1"))
        await asyncio.sleep(1.5)
        two = asyncio.create_task(second.ask("And then?", "2"))
        await one
        ended = now()
        await two
        kinds = [kind for at, kind in seen[second.wire] if at < ended]
        assert set(kinds) == {"typing"}
        signs = [1001.5, *(at for at, kind in seen[second.wire]), ended]
        assert max(later - earlier for earlier, later in itertools.pairwise(signs)) < 5
        assert [kind for _, kind in seen[second.wire]][-1] == "final"

    harness, _ = played(channel, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER, ANSWER]
    assert harness.chat.beside == []


@in_streams
@pytest.mark.parametrize("workers", [1, 3])
def test_a_burst_of_questions_never_has_two_streams_open_and_keeps_its_order(
    channel: Channel, workers: int, tmp_path: Path
) -> None:
    """The last waits for longer than it may in its worker, and is requeued meanwhile."""
    questions = 6

    async def script(harness: TurnHarness) -> None:
        able = [harness.worker(50) for _ in range(workers)]
        asked = []
        for number in range(questions):
            asked.append(asyncio.create_task(able[number % workers].ask(f"Question {number}", str(number))))
            await asyncio.sleep(0.3)
        await harness.later(600)
        await asyncio.gather(*asked)
        records = [await harness.store.find(TurnKey(ANN, str(number))) for number in range(questions)]
        assert max(record.attempt_count for record in records if record) == 1, "to wait is no try"
        memory = await harness.store.recent(ANN, 99)
        asked_for = [message.text for message in memory if message.role == "user"]
        assert asked_for == [f"Question {number}" for number in range(questions)]

    harness, _ = played(channel, tmp_path, script)
    assert [plain(text) for text in harness.chat.messages.values()] == [ANSWER] * questions
    assert harness.chat.beside == []


@in_streams
@pytest.mark.parametrize("told", [False, True], ids=["vanishes", "is told to stop"])
def test_a_turn_that_continues_elsewhere_keeps_its_stream_and_the_next_one_waits_for_it(
    told: bool, channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        first, second = harness.worker(20), harness.worker(5)
        one = asyncio.create_task(first.ask("How?", "1"))
        await asyncio.sleep(4)
        two = asyncio.create_task(second.ask("And then?", "2"))
        await asyncio.sleep(2)
        if told:
            one.cancel()
        else:
            first.wire.cut()
        async with ends_with(one):
            await harness.later()
            await two

    harness, _ = played(channel, tmp_path, script)
    assert [plain(text) for text in harness.chat.messages.values()] == [ANSWER, ANSWER]
    assert list(harness.chat.streams) == ["s0", "s1"]
    assert harness.chat.beside == []


@in_streams
def test_where_a_stream_was_opened_and_its_id_lost_no_second_one_is_opened_for_that_turn(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness, moment: float) -> None:
        asking = asyncio.create_task((first := harness.worker()).ask())
        await asyncio.sleep(moment)
        first.wire.cut()
        async with ends_with(asking):
            await harness.later()

    wrong = {}
    for moment, harness, _ in played_at(moments(0.27, 0.01, 12), channel, tmp_path, script):
        if harness.chat.beside or [plain(text) for text in harness.chat.messages.values()] != [ANSWER]:
            wrong[moment] = (harness.chat.beside, list(harness.chat.messages.values()))
    assert wrong == {}


@in_streams
def test_a_turn_that_was_passed_by_opens_no_stream_beside_the_one_that_went_before_it(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        receiver, worker = harness.store.queue("turns"), harness.worker
        harness.worker = lambda seconds=50.0: worker(seconds)  # type: ignore[method-assign]
        first, second = harness.worker(), harness.worker()
        one = asyncio.create_task(first.ask("How?", "1"))
        await asyncio.sleep(0.05)
        first.wire.cut()
        await asyncio.sleep(LEASE + 2)
        # Whoever takes its message vanishes too, and the host hides it for longer than anybody waits.
        assert len(await receiver.receive(9, visibility_timeout=160)) == 1
        two = asyncio.create_task(second.ask("And then?", "2"))
        async with ends_with(one):
            await harness.later()
            await two

    harness, _ = played(channel, tmp_path, script)
    assert [plain(text) for text in harness.chat.messages.values()] == [ANSWER, ANSWER]
    assert harness.chat.beside == []
