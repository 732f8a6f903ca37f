"""Each measurement asks a running subject questions and returns some of the figures."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.figures import median_and_p95, percentile
from benchmarks.pacing import breaches, final_lateness
from benchmarks.process import OURS, Bot, Fakes, Subject, running
from benchmarks.records import Plan, Run, Turn

Measured = dict[str, float]
BLOCK = 0.020


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is asked. The quick one is for a look, the full one for figures to quote."""

    short_turns: int = 10
    long_turns: int = 4
    load_seconds: float = 8.0
    crowds: int = 4
    deep_conversations: int = 5
    cold_starts: int = 3
    without_bytecode: bool = True


FULL = Effort()
QUICK = Effort(short_turns=4, long_turns=1, load_seconds=3.0, crowds=1, deep_conversations=2, without_bytecode=False)


def turns(subject: Subject, fakes: Fakes, effort: Effort) -> Measured:
    """CPU and latencies at an ordinary load: ten people, each waiting a second before asking again."""
    with running(subject, fakes) as bot:
        bot.run(Plan("", "warm-up", conversations=4, turns=2))
        short = _cpu_per_turn(bot, Plan("", "short", conversations=10, turns=effort.short_turns))
        long_plan = Plan("", "long", conversations=10, turns=effort.long_turns, tokens=120, gap=0.02, stagger=0.3)
        long = _cpu_per_turn(bot, long_plan)
    every = short[1].turns + long[1].turns
    sign = median_and_p95([_ms(turn.posted, turn.sends[0].arrived) for turn in every])
    last_token = median_and_p95([_ms(turn.last_token, turn.final.arrived) for turn in every if turn.final])
    late = median_and_p95(_lateness(every))
    return {
        "cpu_short": short[0],
        "cpu_long": long[0],
        "sign_median": sign[0],
        "sign_p95": sign[1],
        "last_token_median": last_token[0],
        "last_token_p95": last_token[1],
        "late_median": late[0],
        "late_p95": late[1],
    }


def _cpu_per_turn(bot: Bot, plan: Plan) -> tuple[float, Run]:
    before = bot.cpu_seconds()
    run = bot.run(plan)
    time.sleep(0.3)
    return (bot.cpu_seconds() - before) / len(run.turns) * 1000, run


def load(subject: Subject, fakes: Fakes, effort: Effort) -> Measured:
    """As many short turns as one core carries: people in group chats, where no pacing makes anybody wait."""
    core = min(os.sched_getaffinity(0))
    with running(subject, fakes, core=core) as bot:
        bot.run(Plan("", "warm-up", place="groupChat", conversations=4, turns=5, pause=0))
        before, started = bot.cpu_seconds(), time.monotonic()
        plan = Plan(
            "",
            "load",
            place="groupChat",
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
    return {"turns_per_second": len(run.turns) / took, "core_used": used * 100}


def crowd(subject: Subject, fakes: Fakes, effort: Effort) -> Measured:
    """Fifty people at once, each in a conversation of their own, a connector that takes 30 ms; then the peak memory."""
    asked: list[Turn] = []
    with running(subject, fakes) as bot:
        bot.run(Plan("", "warm-up", turns=1))
        for number in range(effort.crowds):
            plan = Plan(
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
    return {
        "breaches": sum(broken),
        "breached_turns": 100 * sum(map(bool, broken)) / len(broken),
        "crowd_late_p95": percentile(_lateness(asked), 0.95),
        "memory": memory,
    }


def depth(subject: Subject, fakes: Fakes, effort: Effort) -> Measured:
    """Turns 191 to 210 of a conversation against 11 to 30, in a group chat, where nothing waits for the pacing."""
    cpu: list[float] = []
    latency: list[float] = []
    with running(subject, fakes) as bot:
        bot.run(Plan("", "warm-up", place="groupChat", turns=20, pause=0))
        for number in range(effort.deep_conversations):
            spans = {first: _span(bot, f"deep-{number}", first, length) for first, length in _DEPTHS}
            cpu.append(spans[191][0] / spans[11][0])
            latency.append(spans[191][1] / spans[11][1])
    return {"depth_cpu": median(cpu), "depth_latency": median(latency)}


_DEPTHS = ((1, 10), (11, 20), (31, 160), (191, 20))


def _span(bot: Bot, name: str, first: int, length: int) -> tuple[float, float]:
    plan = Plan(
        "", name, place="groupChat", first_number=first, turns=length, pause=0, tokens=40, first_delay=0, gap=0.0005
    )
    cpu, run = _cpu_per_turn(bot, plan)
    return cpu, median([_ms(turn.posted, turn.final.arrived) for turn in run.turns if turn.final])


def loop(fakes: Fakes, effort: Effort) -> tuple[Measured, list[dict[str, Any]]]:
    """What held the event loop of ours, in its first turn and in warm ones; the second value says where it was."""
    watched = Subject(OURS.name, OURS.module, wrapper=("benchmarks.loop_watch",))
    with TemporaryDirectory() as folder:
        notes = Path(folder) / "blocks"
        notes.touch()
        with running(watched, fakes, environment={"BENCH_LOOP_WATCH": str(notes)}) as bot:
            began = time.monotonic()
            bot.run(Plan("", "cold", tokens=20))
            time.sleep(1.0)  # what was put off until after the first turn belongs to it
            warm_from = time.monotonic()
            bot.run(Plan("", "warm", conversations=10, turns=effort.long_turns + 1, tokens=120, gap=0.02))
            bot.run(Plan("", "group", place="groupChat", conversations=10, turns=5, pause=0))
        blocks = [json.loads(line) for line in notes.read_text().splitlines()]
    spans = {"cold": (began, warm_from), "warm": (warm_from, float("inf"))}
    measured: Measured = {}
    for name, (start, end) in spans.items():
        held = {
            kind: [block["held"] for block in blocks if block["kind"] == kind and start <= block["at"] < end]
            for kind in ("callback", "tick")
        }
        measured[f"blocks_{name}"] = sum(seconds > BLOCK for seconds in held["callback"])
        measured[f"longest_{name}"] = max(held["callback"], default=0.0) * 1000
        measured[f"tick_{name}"] = max(held["tick"], default=0.0) * 1000
    return measured, [block for block in blocks if block["at"] >= began and block["held"] > BLOCK]


def _ms(start: float | None, end: float) -> float:
    return float("nan") if start is None else (end - start) * 1000


def _lateness(turns_: list[Turn]) -> list[float]:
    return [late * 1000 for turn in turns_ if (late := final_lateness(turn)) is not None]
