"""The figures: what each means, in which unit, and what it may be at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

Values = Mapping[str, Mapping[str, float]]
"""Figure, then subject, to value."""


@dataclass(frozen=True, slots=True)
class Budget:
    """`ours` may be at most `limit`, times the `figure` of `against` if that is given; or, where `added`, beyond it."""

    limit: float
    against: str | None = None
    figure: str | None = None
    strict: bool = False
    added: bool = False

    def __str__(self) -> str:
        sign = "<" if self.strict else "≤"
        if self.against is None:
            return f"{sign} {self.limit:g}"
        of = f" ({FIGURES[self.figure].title})" if self.figure else ""
        if self.added:
            return f"{sign} {self.against}{of} + {self.limit:g}"
        return f"{sign} {self.limit:g} × {self.against}{of}"

    def verdict(self, figure: str, values: Values) -> str:
        """'met' or 'missed', with the ratio or difference where it is one; 'not measured' where a value lacks."""
        ours = values.get(figure, {}).get("ours")
        base = 1.0 if self.against is None else values.get(self.figure or figure, {}).get(self.against)
        if ours is None or not base:
            return "not measured"
        measured = ours - base if self.added else ours / base
        met = measured < self.limit if self.strict else measured <= self.limit
        said = "met" if met else "missed"
        return (
            said if self.against is None else f"{said} ({measured:+.1f})" if self.added else f"{said} ({measured:.2f})"
        )


@dataclass(frozen=True, slots=True)
class Figure:
    title: str
    unit: str
    budgets: tuple[Budget, ...] = ()


FIGURES: Mapping[str, Figure] = {
    "cpu_short": Figure("CPU per turn, 5 tokens", "ms", (Budget(2.5, "floor"), Budget(0.25, "plain bot", strict=True))),
    "cpu_long": Figure("CPU per turn, 120 tokens", "ms", (Budget(1.5, "floor"),)),
    "asked_median": Figure("time to the model's request, median", "ms"),
    "asked_p95": Figure("time to the model's request, p95", "ms"),
    "sign_median": Figure("time to first visible update, median", "ms"),
    "sign_p95": Figure("time to first visible update, p95", "ms"),
    "words_median": Figure("first token to first words, median", "ms", (Budget(60), Budget(15, "floor", added=True))),
    "words_p95": Figure("first token to first words, p95", "ms", (Budget(60), Budget(15, "floor", added=True))),
    "whole_median": Figure(
        "end of an answer that came at once to its message, median", "ms", (Budget(60), Budget(15, "floor", added=True))
    ),
    "whole_p95": Figure("end of an answer that came at once to its message, p95", "ms", (Budget(60),)),
    "in_streams": Figure("… of those that opened a stream all the same", "%"),
    "last_token_median": Figure("last token to final message, median", "ms"),
    "last_token_p95": Figure("last token to final message, p95", "ms"),
    "late_median": Figure("… of that beyond the pacing, median", "ms", (Budget(60), Budget(15, "floor", added=True))),
    "late_p95": Figure("… of that beyond the pacing, p95", "ms", (Budget(60),)),
    "hurried": Figure("… requests before the pacing allows", "", (Budget(0),)),
    "turns_per_second": Figure("turns per second of one core's time", "/s"),
    "core_used": Figure("… share of the core it had", "%"),
    "breaches": Figure("pacing breaches, 50 turns at once", "", (Budget(0),)),
    "breached_turns": Figure("… turns with a breach", "%"),
    "crowd_late_p95": Figure("… final beyond the pacing, p95", "ms"),
    "memory": Figure("peak memory", "MB", (Budget(90),)),
    "cold_sign": Figure(
        "cold start to first sign, one to one", "ms", (Budget(0.6, "plain bot", figure="cold_answer"),)
    ),
    "cold_answer": Figure("cold start to first answer, one to one", "ms", (Budget(0.75, "plain bot"),)),
    "cold_sign_group": Figure(
        "cold start to first sign, group", "ms", (Budget(0.6, "plain bot", figure="cold_answer_group"),)
    ),
    "cold_answer_group": Figure("cold start to first answer, group", "ms", (Budget(0.75, "plain bot"),)),
    "bare_sign": Figure("… to first sign, one to one, no bytecode", "ms", (Budget(0.6, "plain bot", "bare_answer"),)),
    "bare_answer": Figure("… to first answer, one to one, no bytecode", "ms", (Budget(0.75, "plain bot"),)),
    "bare_sign_group": Figure(
        "… to first sign, group, no bytecode", "ms", (Budget(0.6, "plain bot", "bare_answer_group"),)
    ),
    "bare_answer_group": Figure("… to first answer, group, no bytecode", "ms", (Budget(0.75, "plain bot"),)),
    "enter_nothing": Figure("time to the model's request, storage does nothing", "ms"),
    "enter_sqlite": Figure("… what ledger and hand-over add on SQLite, median", "ms", (Budget(10),)),
    "enter_azurite": Figure("… what they add on Azurite, median", "ms"),
    "trips": Figure("round trips to Azurite before the model's request, most", "", (Budget(3),)),
    "cpu_nothing": Figure("CPU per turn, 5 tokens, storage does nothing", "ms"),
    "cpu_sqlite": Figure("… on SQLite", "ms"),
    "cpu_azurite": Figure("… on Azurite", "ms"),
    "depth_cpu": Figure("turn 200 / turn 20, CPU", "×", (Budget(1.1),)),
    "depth_latency": Figure("turn 200 / turn 20, time to answer", "×", (Budget(1.1),)),
    "blocks_cold": Figure("blocks > 20 ms on the loop, first turn", "", (Budget(0),)),
    "blocks_warm": Figure("blocks > 20 ms on the loop, warm turns", "", (Budget(0),)),
    "longest_cold": Figure("… longest, first turn", "ms"),
    "longest_warm": Figure("… longest, warm turns", "ms"),
    "tick_cold": Figure("a 5 ms timer was late by at most, first turn", "ms"),
    "tick_warm": Figure("a 5 ms timer was late by at most, warm turns", "ms"),
    "tool_alone": Figure("a tool of 600 ms, and what the turn adds", "ms"),
    "tools_at_once": Figure(
        "… three at once, of 400, 500 and 600 ms", "ms", (Budget(50, "ours", figure="tool_alone", added=True),)
    ),
    "rows_few": Figure("a result of 20 rows, without the warehouse", "ms"),
    "rows_many": Figure("… of 5,000 rows", "ms", (Budget(50, "ours", figure="rows_few", added=True),)),
    "rows_few_cpu": Figure("CPU per turn with a result of 20 rows", "ms"),
    "rows_many_cpu": Figure("… of 5,000 rows", "ms", (Budget(50, "ours", figure="rows_few_cpu", added=True),)),
    "rows_many_block": Figure("… longest block of the event loop meanwhile", "ms", (Budget(20),)),
    "first_answer": Figure("cold start to a first answer without a tool", "ms"),
    "first_answer_configured": Figure(
        "… with Genie, SQL and a specialist configured", "ms", (Budget(1.05, "ours", figure="first_answer"),)
    ),
    "first_memory": Figure("peak memory of that process", "MB"),
    "first_memory_configured": Figure(
        "… with Genie, SQL and a specialist configured", "MB", (Budget(1.02, "ours", figure="first_memory"),)
    ),
    "backlog_median_alone_sqlite": Figure("first sign of a chat, median", "ms"),
    "backlog_median_beside_sqlite": Figure("… while 1,000 requests of Foundry's agents wait, median", "ms"),
    "backlog_p95_alone_sqlite": Figure("first sign of a chat, p95", "ms"),
    "backlog_p95_beside_sqlite": Figure(
        "… while 1,000 requests of Foundry's agents wait, p95",
        "ms",
        (Budget(100, "ours", figure="backlog_p95_alone_sqlite", added=True),),
    ),
    "backlog_answered_sqlite": Figure("… requests answered meanwhile", "/s"),
    "backlog_median_alone_azurite": Figure("first sign of a chat on Azurite, median", "ms"),
    "backlog_median_beside_azurite": Figure("… while 1,000 requests of Foundry's agents wait, median", "ms"),
    "backlog_p95_alone_azurite": Figure("first sign of a chat on Azurite, p95", "ms"),
    "backlog_p95_beside_azurite": Figure("… while 1,000 requests of Foundry's agents wait, p95", "ms"),
    "backlog_answered_azurite": Figure("… requests answered meanwhile", "/s"),
}


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def median_and_p95(values: list[float]) -> tuple[float, float]:
    return median(values), percentile(values, 0.95)
