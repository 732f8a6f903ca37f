"""An answer that was interrupted goes on as if one had said all of it; the note says so once, and belongs to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from app.agent.user_messages import CONTINUE_PROMPT, INTERRUPTION_NOTE
from app.bot.channel import COPILOT, TEAMS_PERSONAL, Channel
from app.models.model import Completed, ModelEvent, ModelRequest, TextDelta
from app.models.model_errors import EndpointUnreachableError
from app.translation import ENGLISH
from tests.fakes.chat import Wire, ends_with
from tests.fakes.turn_harness import LEASE, Knows, TurnHarness, Worker, played

CODE = "Run this:\n\n```python\nfor each in range(3):\n    print(each)\n\nprint('done')\n```\n\nThat is all."
TABLE = "Look:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |\n\nThat is all."
NOTE = ENGLISH(INTERRUPTION_NOTE)
WORDS = "First the plan is made, then the work is done, and then **all of it** is looked at once more."


class Says(Knows):
    """Says `answer` in four seconds; asserts that nobody tells it that it has said anything else."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self._answer = answer

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.asked += 1
        said = request.messages[-2].content if request.messages[-1].content == CONTINUE_PROMPT else ""
        assert self._answer.startswith(said), f"a part of the answer that never was: {said}"
        rest = self._answer[len(said) :]
        for start in range(0, len(rest), 2):
            await asyncio.sleep(8 / len(self._answer))
            yield TextDelta(rest[start : start + 2])
        yield Completed()


class Fails(Knows):
    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        await asyncio.sleep(0.1)
        raise EndpointUnreachableError("away")
        yield Completed()


def worker(harness: TurnHarness, model: Knows) -> Worker:
    return Worker(harness, Wire(), model)


async def vanishing_after(harness: TurnHarness, models: list[Knows], seconds: float) -> None:
    """Each model's worker vanishes after so long, but the last."""
    running = []
    first, *others = [worker(harness, model) for model in models]
    running.append(asyncio.create_task(first.ask()))
    before = first
    for other in others:
        await asyncio.sleep(seconds)
        before.wire.cut()
        await asyncio.sleep(2 * LEASE)
        running.append(asyncio.create_task(other.resume(await harness.take_message())))
        before = other
    async with ends_with(*running[:-1]):
        await running[-1]


def final(channel: Channel, folder: Path, models: list[Knows], seconds: float) -> tuple[str, Any]:
    harness, (_, memory) = played(channel, folder, lambda harness: vanishing_after(harness, models, seconds))
    return list(harness.chat.messages.values())[-1], memory


@pytest.mark.parametrize("answer", [CODE, TABLE, WORDS])
@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT], ids=lambda channel: channel.name)
def test_code_keeps_its_language_and_a_table_its_header_wherever_they_are_interrupted(
    channel: Channel, answer: str, tmp_path: Path
) -> None:
    for tenth in range(5, 37, 4):
        told, memory = final(channel, tmp_path / str(tenth), [Says(answer), Says(answer)], tenth / 10)
        before, _, after = told.partition(f"\n\n{NOTE}\n\n")
        if answer is CODE:
            assert told.count("```python\n") * 2 == told.count("```")
            lines = [line for line in told.splitlines() if not line.startswith("```") and line != NOTE]
            assert "".join("".join(lines).split()) == "".join(CODE.replace("```python", "").replace("```", "").split())
            for part in told.split("```python\n")[1:]:
                assert not part.partition("```")[0].startswith("\n")
        elif answer is TABLE and "| 3 | 4 |" in after:
            assert after.index("| a | b |\n|---|---|\n") < after.index("| 3 | 4 |")
        elif answer is WORDS:
            assert (before + after).replace("****", "") == WORDS
        assert [message.text for message in memory] == ["How?", answer]


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT], ids=lambda channel: channel.name)
@pytest.mark.parametrize("seconds", [0.3, 1.5])
def test_the_note_stands_once_however_many_workers_vanish(channel: Channel, seconds: float, tmp_path: Path) -> None:
    told, memory = final(channel, tmp_path, [Says(WORDS) for _ in range(3)], seconds)
    assert told.count(NOTE) == 1
    # A model that goes on begins with a word: where it was interrupted within one, there is a space.
    assert "".join(memory[-1].text.split()) == "".join(WORDS.split())


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT], ids=lambda channel: channel.name)
def test_the_note_alone_is_no_answer_that_is_remembered(channel: Channel, tmp_path: Path) -> None:
    told, memory = final(channel, tmp_path, [Says(WORDS), Fails()], 0.02)
    assert "⚠️" in told
    assert memory == []
