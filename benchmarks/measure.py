"""Each measurement asks a running subject questions and returns some of the figures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.figures import median_and_p95, percentile
from benchmarks.load_records import LoadPlan, LoadRun, TurnTiming
from benchmarks.loop_watch import LoopDelay
from benchmarks.pacing import breaches, final_lateness, words_lateness
from benchmarks.process import Fakes, RunningSubject, Subject, running

BLOCK_SECONDS = 0.020


@dataclass(frozen=True, slots=True)
class MeasuredFigures:
    """Values by the names of `benchmarks.figures.FIGURES`, and notes for the reader."""

    figures: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effort:
    """How often everything is repeated: quickly for a first impression, or fully for figures to quote."""

    rounds: int = 3
    short_turns: int = 3
    long_turns: int = 1
    load_seconds: float = 8.0
    crowds: int = 4
    deep_conversations: int = 15
    cold_starts: int = 3
    overhead_turns: int = 40
    overhead_streams: int = 10
    tool_turns: int = 10
    without_bytecode: bool = True


FULL = Effort()
QUICK = Effort(
    rounds=1,
    short_turns=2,
    load_seconds=3.0,
    crowds=1,
    deep_conversations=5,
    overhead_turns=15,
    overhead_streams=3,
    tool_turns=4,
    without_bytecode=False,
)


def turns(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """CPU and latencies at an ordinary load: ten users, each waiting a second before asking again."""
    with running(subject, fakes) as bot:
        bot.run(LoadPlan("", "warm-up", conversations=8))
        short = cpu_per_turn(bot, LoadPlan("", "short", conversations=10, turns=effort.short_turns))
        # The model's whole answer comes within 10 ms, 0.25 s after the request.
        brief = bot.run(
            LoadPlan("", "brief", conversations=10, turns=effort.short_turns, first_delay=0.25, gap=0.0025)
        ).turns
        long_plan = LoadPlan("", "long", conversations=10, turns=effort.long_turns, tokens=120, gap=0.02, stagger=0.3)
        long = cpu_per_turn(bot, long_plan)
    every = short[1].turns + long[1].turns
    asked = median_and_p95([_ms(turn.posted, turn.model_asked) for turn in every if turn.model_asked])
    sign = median_and_p95([_ms(turn.posted, turn.sends[0].arrived) for turn in every])
    last_token = median_and_p95(
        [_ms(turn.last_token, turn.final.arrived) for turn in every if turn.final and turn.last_token]
    )
    words = median_and_p95(_found(long[1].turns, words_lateness))
    whole = median_and_p95(
        [_ms(turn.last_token, turn.final.arrived) for turn in brief if turn.final and turn.last_token]
    )
    late = median_and_p95(_found(long[1].turns, final_lateness))
    return MeasuredFigures(
        {
            "cpu_short": short[0],
            "cpu_long": long[0],
            "asked_median": asked[0],
            "asked_p95": asked[1],
            "sign_median": sign[0],
            "sign_p95": sign[1],
            "words_median": words[0],
            "words_p95": words[1],
            "whole_median": whole[0],
            "whole_p95": whole[1],
            "in_streams": 100 * sum(map(_streamed, brief)) / len(brief),
            "last_token_median": last_token[0],
            "last_token_p95": last_token[1],
            "late_median": late[0],
            "late_p95": late[1],
            "hurried": sum(breaches(turn.sends) for turn in [*every, *brief]),
        }
    )


def cpu_per_turn(bot: RunningSubject, plan: LoadPlan) -> tuple[float, LoadRun]:
    before = bot.cpu_seconds()
    run = bot.run(plan)
    time.sleep(0.1)
    return (bot.cpu_seconds() - before) / len(run.turns) * 1000, run


def load(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """As many short turns as one core carries: users in group chats, where no pacing delays an answer.

    Per second of the core's time that the subject had: other processes may use the core, and the driver may be slower.
    """
    core = min(os.sched_getaffinity(0))
    with running(subject, fakes, core=core) as bot:
        bot.run(LoadPlan("", "warm-up", conversation_type="groupChat", conversations=4, turns=5, pause=0))
        before, started = bot.cpu_seconds(), time.monotonic()
        plan = LoadPlan(
            "",
            "load",
            conversation_type="groupChat",
            conversations=32,
            duration=effort.load_seconds,
            pause=0,
            stagger=0.01,
            first_delay=0.02,
            gap=0.001,
        )
        run = bot.run(plan)
        took = time.monotonic() - started
        used = (bot.cpu_seconds() - before) / took
    return MeasuredFigures({"turns_per_second": len(run.turns) / took / used, "core_used": used * 100})


def crowd(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """Fifty users at once, each in a conversation of their own, a connector that takes 30 ms; then the peak memory."""
    asked: list[TurnTiming] = []
    with running(subject, fakes) as bot:
        bot.run(LoadPlan("", "warm-up", turns=1))
        for number in range(effort.crowds):
            plan = LoadPlan(
                "",
                f"crowd-{number}",
                conversations=50,
                tokens=120,
                gap=0.025,
                stagger=0.002,
                connector_delay=0.03,
            )
            asked += bot.run(plan).turns
        memory = bot.peak_memory_mb()
    broken = [breaches(turn.sends) for turn in asked]
    return MeasuredFigures(
        {
            "breaches": sum(broken),
            "breached_turns": 100 * sum(map(bool, broken)) / len(broken),
            "crowd_late_p95": percentile(_found(asked, final_lateness), 0.95),
            "memory": memory,
        }
    )


def depth(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """Turns 191 to 210 of a conversation against 11 to 30, in a group chat, where no pacing delays an answer."""
    cpu: list[float] = []
    latency: list[float] = []
    with running(subject, fakes) as bot:
        bot.run(LoadPlan("", "warm-up", conversation_type="groupChat", turns=20, pause=0))
        for number in range(effort.deep_conversations):
            spans = {first: _span(bot, f"deep-{number}", first, length) for first, length in _DEPTHS}
            cpu.append(spans[191][0] / spans[11][0])
            latency.append(spans[191][1] / spans[11][1])
    return MeasuredFigures({"depth_cpu": median(cpu), "depth_latency": median(latency)})


_DEPTHS = ((1, 10), (11, 20), (31, 160), (191, 20))


def _span(bot: RunningSubject, name: str, first: int, length: int) -> tuple[float, float]:
    plan = LoadPlan(
        "",
        name,
        conversation_type="groupChat",
        first_number=first,
        turns=length,
        pause=0,
        tokens=40,
        first_delay=0,
        gap=0,
    )
    cpu, run = cpu_per_turn(bot, plan)
    return cpu, median([_ms(turn.posted, turn.final.arrived) for turn in run.turns if turn.final])


def loop(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """What blocked the event loop, in the first turn and in warm ones."""
    with watched(subject, fakes) as (bot, delays):
        began = time.monotonic()
        bot.run(LoadPlan("", "cold", tokens=20))
        time.sleep(1.0)  # work that was postponed until after the first turn is counted with it
        warm_from = time.monotonic()
        bot.run(LoadPlan("", "warm", conversations=10, turns=2, tokens=120, gap=0.02))
        bot.run(LoadPlan("", "group", conversation_type="groupChat", conversations=10, turns=5, pause=0))
    held = delays()
    cold = [each for each in held if began <= each.at < warm_from]
    warm = [each for each in held if each.at >= warm_from]
    blocks = [each for each in cold + warm if each.kind == "callback" and each.held > BLOCK_SECONDS]
    return MeasuredFigures(
        {**_held("cold", cold), **_held("warm", warm)},
        tuple(f"held the loop for {each.held * 1000:.0f} ms: {each.where}" for each in blocks),
    )


@contextmanager
def watched(
    subject: Subject, fakes: Fakes, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[RunningSubject, Callable[[], list[LoopDelay]]]]:
    """A running subject, and what held its event loop, to be asked for once it has ended."""
    delays: list[LoopDelay] = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "held"
        file.touch()
        watching = {**(environment or {}), "BENCH_LOOP_WATCH": str(file)}
        with running(replace(subject, wrapper=("benchmarks.loop_watch",)), fakes, environment=watching) as bot:
            yield bot, lambda: delays
        delays += [LoopDelay(**json.loads(line)) for line in file.read_text().splitlines()]


def _held(name: str, held: list[LoopDelay]) -> dict[str, float]:
    callbacks = [each.held for each in held if each.kind == "callback"]
    ticks = [each.held for each in held if each.kind == "tick"]
    return {
        f"blocks_{name}": sum(seconds > BLOCK_SECONDS for seconds in callbacks),
        f"longest_{name}": max(callbacks, default=0.0) * 1000,
        f"tick_{name}": max(ticks, default=0.0) * 1000,
    }


def _streamed(turn: TurnTiming) -> bool:
    return any(send.stream_type for send in turn.sends)


def _ms(start: float, end: float) -> float:
    return (end - start) * 1000


def _found(turns_: list[TurnTiming], seconds: Callable[[TurnTiming], float | None]) -> list[float]:
    """In milliseconds, of the turns that have it."""
    return [found * 1000 for turn in turns_ if (found := seconds(turn)) is not None]
