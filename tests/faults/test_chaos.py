"""A turn at its last try is never cut off: another worker is killed, or nobody."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from signal import SIGKILL, Signals
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.agent.events import Answer
from app.storage.ledger import TurnRecord, TurnState
from app.storage.storage_errors import StorageError
from app.turns.checkpoint import Checkpoint
from tests.faults import chaos as chaos_module
from tests.faults.chaos import Chaos
from tests.faults.plan import Kill, Pause, Plan, make_plan
from tests.faults.storage import key_of
from tests.faults.tap import Tap

QUESTION = make_plan(1, questions=1, conversations=1, seconds=5, workers=3).questions[0]
OWNER = "a" * 32


@dataclass
class Scene:
    """Three workers, and one open turn, of which `turns` are what is read of it one after the other."""

    turns: list[TurnRecord | None]
    killed: list[str] = field(default_factory=list)
    paused: int = 0

    def __post_init__(self) -> None:
        current = [SimpleNamespace(name=name) for name in ("1.1", "2.1", "3.1")]
        self.began = time.monotonic()

        async def kill(slot: int, _: Signals) -> object:
            self.killed.append(current[slot].name)
            return current[slot]

        async def open_turns(_: object) -> list[TurnRecord]:
            found = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
            if found is None:
                raise StorageError
            return [found]

        def pause() -> None:
            self.paused += 1

        self.tap = Tap(cast(Any, None), self.clock)
        self.chaos = Chaos(
            Plan(1, 5.0, (QUESTION,), (), ()),
            cast(Any, SimpleNamespace(current=current, kill=kill)),
            cast(Any, SimpleNamespace(pause=pause, resume=lambda: None)),
            cast(Any, SimpleNamespace(open_turns=open_turns)),
            self.tap,
            self.clock,
        )

    def clock(self) -> float:
        return time.monotonic() - self.began

    async def sigkill(self, worker: int = 1) -> None:
        await self.chaos._inject_all([Kill(0.0, worker, SIGKILL)])


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_module, "_BETWEEN_EVENTS_SECONDS", 0.0)
    monkeypatch.setattr(chaos_module, "_BETWEEN_LOOKS_SECONDS", 0.01)
    monkeypatch.setattr(chaos_module, "_LONGEST_HOLD_UP", 0.1)
    monkeypatch.setattr(chaos_module, "_LONGEST_HOLD_UP_OF_A_PAUSE", 0.1)


def turn(attempt_count: int, *, lease: float = 3.0, checkpoint: str = "") -> TurnRecord:
    return TurnRecord(
        key_of(QUESTION), 1, TurnState.STARTED, OWNER, time.time() + lease, attempt_count, checkpoint=checkpoint
    )


async def test_a_worker_that_has_a_turn_at_its_last_try_is_spared_and_the_next_one_killed() -> None:
    scene = Scene([turn(3)])
    scene.tap.note("PUT", "row", OWNER, "2.1")
    await scene.sigkill()
    assert scene.killed == ["3.1"]
    assert scene.chaos.elsewhere == 1


async def test_a_worker_that_has_none_is_killed_though_another_has() -> None:
    scene = Scene([turn(3)])
    scene.tap.note("PUT", "row", OWNER, "1.1")
    await scene.sigkill()
    assert (scene.killed, scene.chaos.elsewhere) == (["2.1"], 0)


@pytest.mark.parametrize("found", [turn(3), turn(2, lease=0.3), None])
async def test_nobody_is_killed_while_it_is_not_known_who_has_the_turn(found: TurnRecord | None) -> None:
    scene = Scene([found])
    await scene.sigkill()
    assert not scene.killed
    assert len(scene.chaos.left_out) == 1


async def test_a_kill_waits_until_the_owner_is_known() -> None:
    scene = Scene([turn(2, lease=0.3), turn(3)])
    scene.tap.note("PUT", "row", OWNER, "2.1")
    await scene.sigkill()
    assert (scene.killed, scene.chaos.left_out) == (["3.1"], [])


async def test_a_turn_whose_end_is_written_down_is_not_given_up_and_holds_nothing_up() -> None:
    scene = Scene([turn(3, checkpoint=Checkpoint(end=Answer("The answer.")).to_json())])
    await scene.sigkill()
    assert scene.killed == ["2.1"]


@pytest.mark.parametrize(("attempt_count", "stands_still"), [(2, 1), (3, 0)])
async def test_storage_stands_still_when_no_worker_has_a_turn_at_its_last_try(
    attempt_count: int, stands_still: int
) -> None:
    scene = Scene([turn(attempt_count)])
    scene.tap.note("PUT", "row", OWNER, "2.1")
    await scene.chaos._inject_all([Pause(0.0, Kill(0.01, 1, SIGKILL), 0.02)])
    assert (scene.paused, len(scene.killed), len(scene.chaos.pauses)) == (stands_still,) * 3
    assert len(scene.chaos.left_out) == 1 - stands_still
