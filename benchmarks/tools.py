"""What tools and large results add to a turn, and what the capabilities cost that no answer has used yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from benchmarks.load_records import LoadPlan, TurnTiming
from benchmarks.measure import Effort, MeasuredFigures, cpu_per_turn, watched
from benchmarks.process import Fakes, RunningSubject, Subject, running

_CONFIGURED = {
    "SQL_WAREHOUSE_ID": "1234567890abcdef",
    "GENIE_SPACES": "01ef0000000000000000000000000001",
    "SPECIALISTS": '[{"name": "finance", "endpoint": "finance-agent"}]',
}
_SLOWEST_SECONDS = 0.6
_THREE_SECONDS = (0.4, 0.5, _SLOWEST_SECONDS)
_FEW_ROWS = 20
_MANY_ROWS = 5_000


def tools(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """In a group chat, where no pacing delays an answer, one question at a time, each kind after the other."""
    plan = LoadPlan("", "tools", conversation_type="groupChat", pause=0.05, first_delay=0, gap=0)
    one = replace(plan, tool_seconds=(_SLOWEST_SECONDS,), rows=_FEW_ROWS)
    three = replace(plan, tool_seconds=_THREE_SECONDS, rows=_FEW_ROWS)
    few, many = replace(one, tool_seconds=(0.0,)), replace(one, tool_seconds=(0.0,), rows=_MANY_ROWS)
    waited: dict[str, list[float]] = {"one": [], "three": [], "few": [], "many": []}
    with running(subject, fakes, environment=_CONFIGURED) as bot:
        bot.run(replace(three, name="warm-up", turns=2))
        for number in range(effort.tool_turns):
            for name, kind in (("one", one), ("three", three), ("few", few), ("many", many)):
                waited[name] += map(_beside_model, _ask(bot, replace(kind, name=f"{name}-{number}")))
        cpu = {
            rows: cpu_per_turn(bot, replace(kind, name=f"cpu-{rows}", turns=effort.tool_turns))[0]
            for rows, kind in ((_FEW_ROWS, few), (_MANY_ROWS, many))
        }
    with watched(subject, fakes, _CONFIGURED) as (bot, delays):
        bot.run(replace(many, name="warm-up", turns=2))
        warm_from = time.monotonic()
        bot.run(replace(many, name="watched", turns=effort.tool_turns))
    blocks = [each.held for each in delays() if each.kind == "callback" and each.at >= warm_from]
    middle = {name: median(each) for name, each in waited.items()}
    return MeasuredFigures(
        {
            "tool_alone": middle["one"],
            "tools_at_once": middle["three"],
            "rows_few": middle["few"],
            "rows_many": middle["many"],
            "rows_few_cpu": cpu[_FEW_ROWS],
            "rows_many_cpu": cpu[_MANY_ROWS],
            "rows_many_block": max(blocks, default=0.0) * 1000,
            **_unused(subject, fakes, effort),
        }
    )


def _unused(subject: Subject, fakes: Fakes, effort: Effort) -> dict[str, float]:
    """A first answer that uses no tool, with the capabilities configured and without, in alternation."""
    answers: dict[str, list[float]] = {"": [], "_configured": []}
    memory: dict[str, list[float]] = {"": [], "_configured": []}
    plan = LoadPlan("", "first", conversation_type="groupChat", connect_for=60.0, turn_limit=60.0)
    for _ in range(effort.cold_starts):
        for kind, environment in (("", {}), ("_configured", _CONFIGURED)):
            with running(subject, fakes, environment=environment, wait=False) as bot:
                turn = bot.run(plan).turns[0]
                assert turn.final is not None
                answers[kind].append((turn.final.arrived - bot.started) * 1000)
                memory[kind].append(bot.peak_memory_mb())
    return {f"first_answer{kind}": median(each) for kind, each in answers.items()} | {
        f"first_memory{kind}": median(each) for kind, each in memory.items()
    }


def _ask(bot: RunningSubject, plan: LoadPlan) -> Sequence[TurnTiming]:
    return bot.run(plan).turns


def _beside_model(turn: TurnTiming) -> float:
    """Milliseconds from the model's call for tools to its next request, and from its last token to the message."""
    assert turn.tools_called is not None
    assert turn.tools_answered is not None
    assert turn.last_token is not None
    assert turn.final is not None
    return (turn.tools_answered - turn.tools_called + turn.final.arrived - turn.last_token) * 1000
