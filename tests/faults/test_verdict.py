"""What a run is blamed for, and what it is not."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.agent.user_messages import STORAGE_UNAVAILABLE
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.storage.azure.table_entities import turn_row
from app.storage.ledger import TurnRecord, TurnState
from tests.faults import floors, verdict
from tests.faults import run as runs
from tests.faults.channel_faults import ChannelFaults, Fault
from tests.faults.chaos import Chaos
from tests.faults.deliveries import Deliveries, Delivery
from tests.faults.heartbeat import Heartbeat
from tests.faults.model import ModelCall, ModelEndpoint
from tests.faults.plan import Kind, Plan, Question
from tests.faults.run import Run
from tests.faults.storage import key_of
from tests.faults.tap import Tap
from tests.faults.teams import Bubble, Call, Teams
from tests.faults.verdict import complaints
from tests.faults.workers import Worker, Workers

ANSWER = "The answer."
WORKERS = ("1.1", "2.1")


@dataclass
class Told:
    """One question, and what happened to it; `now` is the second of the run in which the next thing happens."""

    folder: Path
    kind: Kind = Kind.GROUP
    now: float = 0.0
    run: Run = field(init=False)

    def __post_init__(self) -> None:
        self.question = Question("q", self.kind, "19:c", "What?", ANSWER, 0.0, 0.1, 1.0)
        asked = {self.question.id: self.question}
        plan = Plan(1, 10.0, (self.question,), (), ())
        workers = Workers(0, self.folder, lambda _: {}, self.clock)
        for slot, name in enumerate(WORKERS):
            worker = Worker(name, slot, 1, self.folder, cast(Any, SimpleNamespace(returncode=None)), 0.0)
            workers.all[name] = worker
            workers.current.append(worker)
        nothing = cast(Any, None)
        tap = Tap(nothing, self.clock)
        record = TurnRecord(key_of(self.question), 1, TurnState.ANSWERED, "a" * 32, 0.0)
        ledger_reader = cast(Any, SimpleNamespace(closed={self.question.id: record}))
        self.run = Run(
            plan,
            Teams(asked, ChannelFaults(1), self.clock),
            ModelEndpoint(asked, self.clock),
            workers,
            Deliveries(nothing, workers, "", 1, self.clock),
            ledger_reader,
            Chaos(plan, workers, nothing, ledger_reader, tap, self.clock),
            tap,
            Heartbeat(self.clock),
            histories={"19:c": [("user", "What?"), ("assistant", ANSWER)]},
            seconds=60.0,
        )
        self.run.deliveries.all.append(Delivery("q", "1.1", 0.0, repeat=False, answer=200, ended_at=1.0))
        self.run.model.asked.append(ModelCall(0.0, "q", "1.1", "", ()))

    def clock(self) -> float:
        return self.now

    def taken(self, worker: str, *, enters: bool = False) -> None:
        owner = f"{len(self.run.tap.writes.get(turn_row(key_of(self.question)), ())):032x}"
        self.run.tap.note("POST" if enters else "PUT", turn_row(key_of(self.question)), owner, worker)

    def message(self, text: str = ANSWER, fault: Fault | None = None) -> None:
        call = Call(self.now, "q", "message", text, fault)
        self.run.teams.calls.append(call)
        if fault is None or fault.delivers:
            self.run.teams._delivered(call, None)

    def half_bubble(self) -> None:
        call = Call(self.now, "q", "informative", "Thinking…", None)
        self.run.teams.calls.append(call)
        bubble = Bubble(f"half-{self.now}", "q", self.now, "", is_final=False, stream=True)
        self.run.teams._bubbles_of.setdefault("q", []).append(bubble)
        call.bubble = bubble.id

    def streams(self) -> None:
        """A stream is opened, and nobody ends it."""
        call = Call(self.now, "q", "streaming", "The", None)
        self.run.teams.calls.append(call)
        self.run.teams._opened(call, {"streamSequence": 1})

    def killed(self, worker: str) -> None:
        killed = self.run.workers.all[worker]
        killed.killed_at, killed.killed_by, killed.ended_at = self.now, signal.SIGKILL, self.now

    def blamed_for(self, what: str) -> bool:
        return any(what in complaint for complaint in complaints(self.run))


@pytest.fixture
def told(tmp_path: Path) -> Told:
    told = Told(tmp_path)
    told.taken("1.1", enters=True)
    return told


def test_one_answer_is_nothing_to_complain_about(told: Told) -> None:
    told.message()
    assert not list(complaints(told.run))


def test_a_stream_beside_an_open_one_needs_a_reason_for_which_nobody_could_end_that(tmp_path: Path) -> None:
    told = Told(tmp_path, Kind.TEAMS)
    told.taken("1.1", enters=True)
    told.now = 1.0
    told.streams()
    assert not told.blamed_for("was opened while")
    told.now = 20.0
    told.streams()
    assert told.blamed_for("was opened while")
    told.now = 1.0
    told.killed("1.1")
    assert not told.blamed_for("was opened while")


def test_each_copy_that_is_marked_needs_a_doubt_of_its_own(told: Told) -> None:
    told.message(fault=Fault.LOST_ANSWER)
    told.now = 2.0
    told.message(f"{ANSWER}\n\n{SENT_AGAIN.english}")
    assert not list(complaints(told.run))
    told.now = 4.0
    told.message(f"{ANSWER}\n\n{SENT_AGAIN.english}")
    assert told.blamed_for("2 marked as sent again, though only 1 times nobody knew")
    assert told.blamed_for("3 answers, though only 1 times nobody knew")


def test_who_takes_a_turn_over_may_say_its_answer_again_once(told: Told) -> None:
    told.message()
    told.now = 4.0
    told.taken("2.1")
    told.now = 5.0
    told.message(f"{ANSWER}\n\n{SENT_AGAIN.english}")
    assert not list(complaints(told.run))


@pytest.mark.parametrize("taken_over", [False, True])
def test_only_of_an_answer_that_another_went_on_with_a_space_may_be_forgotten(told: Told, taken_over: bool) -> None:
    told.run.histories["19:c"] = [("user", "What?"), ("assistant", ANSWER.replace(" ", ""))]
    if taken_over:
        told.taken("2.1")
    told.now = 5.0
    told.message()
    assert told.blamed_for("what is remembered as its answer") is not taken_over


def test_a_repeat_at_another_worker_is_no_reason_to_say_it_again(told: Told) -> None:
    told.message()
    told.now = 4.0
    told.taken("2.1", enters=True)
    told.now = 5.0
    told.message(f"{ANSWER}\n\n{SENT_AGAIN.english}")
    assert told.blamed_for("1 marked as sent again, though only 0 times nobody knew")


@pytest.mark.parametrize(("killed", "blamed"), [("1.1", False), ("2.1", True)])
def test_only_the_end_of_who_had_opened_it_explains_a_bubble_that_stays_half(
    told: Told, killed: str, blamed: bool
) -> None:
    told.now = 2.0
    told.half_bubble()
    told.now = 2.5
    told.killed(killed)
    told.run.workers.current.clear()
    told.now = 6.0
    told.message()
    assert told.blamed_for("a second bubble with half of an answer") is blamed


@pytest.mark.parametrize(("updates", "blamed"), [(1, False), (2, True)])
def test_who_lost_a_turn_before_it_wrote_the_id_down_leaves_a_bubble_that_nobody_goes_on_with(
    told: Told, updates: int, blamed: bool
) -> None:
    told.now = 2.0
    told.half_bubble()
    told.run.teams._bubbles_of["q"][0].sequence = updates
    told.now = 6.0
    told.taken("2.1")
    told.now = 7.0
    told.message()
    assert told.blamed_for("a second bubble with half of an answer") is blamed


@pytest.mark.parametrize(
    ("first_came", "worker", "outage", "blamed"),
    [
        (0.0, "2.1", False, True),
        (0.0, "1.1", True, True),
        (0.0, "1.1", False, False),
        (1.5, "1.1", True, False),
        (None, "1.1", True, False),
    ],
    ids=["same worker", "outage", "slower worker", "refused at first", "told to ask again"],
)
def test_the_order_is_judged_by_what_the_person_sent_and_not_by_tickets(
    told: Told, first_came: float | None, worker: str, outage: bool, blamed: bool
) -> None:
    run, first = told.run, told.question
    second = replace(first, id="r", text="And?", asked_at=1.0)
    run.plan = replace(run.plan, questions=(first, second))
    run.ledger_reader.closed |= {
        "q": TurnRecord(key_of(first), 2, TurnState.ANSWERED, "a" * 32, 0.0),
        "r": TurnRecord(key_of(second), 1, TurnState.ANSWERED, "b" * 32, 0.0),
    }
    run.histories["19:c"] = [*exchange("And?"), *exchange("What?")]
    run.model.asked = [
        ModelCall(3.0, "r", "2.1", "", ()),
        ModelCall(5.0, "q", "1.1", "", (("user", "And?"),)),
    ]
    run.tap.writes.clear()
    refused = Delivery("q", "1.1", 0.0, repeat=False, answer=503, ended_at=0.1)
    run.deliveries.all = [
        Delivery("r", "2.1", 1.0, repeat=False, answer=200, ended_at=2.0),
        refused,
        Delivery("q", worker, first_came or 0.0, repeat=False, answer=200, ended_at=6.0),
    ]
    if outage:
        run.chaos.pauses.append((0.0, 3.0))
    if first_came is None:
        told.message(STORAGE_UNAVAILABLE.english)
    for at, question in ((4.0, "r"), (6.0, "q")):
        told.now = at
        call = Call(at, question, "message", ANSWER, None)
        run.teams.calls.append(call)
        run.teams._delivered(call, None)
    assert told.blamed_for("'What?' was asked before 'And?' and answered after it") is blamed


def test_a_question_came_when_it_was_entered_though_that_delivery_was_answered_503(told: Told) -> None:
    told.taken("1.1", enters=True)
    told.run.deliveries.all = [
        Delivery("q", "1.1", 0.0, repeat=False, answer=503, ended_at=2.0),
        Delivery("q", "2.1", 3.0, repeat=False, answer=200, ended_at=4.0),
    ]
    taken = verdict._taken(told.run, told.question)
    assert taken is not None
    assert taken.worker == "1.1"


def exchange(question: str) -> list[tuple[str, str]]:
    return [("user", question), ("assistant", ANSWER)]


def test_a_message_that_nobody_ever_took_is_one_to_complain_about(told: Told) -> None:
    told.message()
    told.run.deliveries.never_taken.append(told.question)
    assert told.blamed_for("never taken, however often it was delivered")


@pytest.mark.parametrize(
    "excuse", ["none", "storage stood still", "it was killed", "another was killed", "the machine was busy"]
)
def test_who_acknowledges_after_15_seconds_has_to_have_a_reason(told: Told, excuse: str) -> None:
    told.message()
    told.run.deliveries.all.append(Delivery("q", "1.1", 20.0, repeat=True, answer="TimeoutError", ended_at=35.0))
    if excuse == "storage stood still":
        told.run.chaos.pauses.append((16.0, 21.0))
    if excuse == "the machine was busy":
        told.run.heartbeat.beats += [(float(second), 3.0) for second in range(20, 36)]
    told.now = 25.0
    if "killed" in excuse:
        told.killed("1.1" if excuse == "it was killed" else "2.1")
    blamed = excuse in ("none", "another was killed")
    assert told.blamed_for("took more than 15 s to acknowledge it") is blamed


@pytest.mark.parametrize("storage_stood_still", [True, False])
def test_to_ask_again_is_said_only_while_storage_stands_still(told: Told, storage_stood_still: bool) -> None:
    if storage_stood_still:
        told.run.chaos.pauses.append((1.0, 6.0))
    told.now = 10.5
    told.message(STORAGE_UNAVAILABLE.english)
    told.now = 11.0
    told.message()
    assert bool(list(complaints(told.run))) is not storage_stood_still


@pytest.mark.parametrize("slowdown", [1.1, 3.0])
def test_how_often_people_are_told_to_ask_again_is_judged_only_where_the_machine_kept_up(
    told: Told, slowdown: float
) -> None:
    told.run.chaos.pauses.append((1.0, 6.0))
    told.run.heartbeat.beats += [(float(second), slowdown) for second in range(60)]
    told.now = 10.5
    told.message(STORAGE_UNAVAILABLE.english)
    told.run.plan = replace(told.run.plan, questions=told.run.plan.questions * 6)
    assert told.blamed_for("6 times a person was told to ask again") is (slowdown < 2)


def test_a_run_in_which_nothing_happened_is_too_mild(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(floors.too_mild(told.run)), "a short one may be"
    monkeypatch.setattr(floors, "QUESTIONS", 1)
    said = "\n".join(floors.too_mild(told.run))
    for what in ("SIGKILLs", "SIGTERMs", "storage stood still", "turn that was running", "taken over", "gone on with"):
        assert what in said
    assert all(f"faults of the channel: {fault}," in said for fault in Fault)


async def test_a_run_that_hangs_ends_and_says_what_was_still_open(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def stage(*_: object) -> AsyncIterator[Run]:
        yield told.run

    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(runs, "installed", lambda: None)
    monkeypatch.setattr(runs, "_stage", stage)
    monkeypatch.setattr(runs, "_play", hangs)
    plan = replace(told.run.plan, seconds=0.0)
    with pytest.raises(AssertionError, match=r"a run hangs:\n'What\?' has no answer\nworker 1.1 runs"):
        await runs.perform(plan, told.folder, longest_rest=0.05, lock_seconds=0.0)
