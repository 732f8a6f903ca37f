"""What the history adds up to. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, Literal

from app.jobs.decisions.decision import DecisionAction
from app.jobs.history.decision_record import OBSERVED, PRIMARY, DecisionRecord

KNOWN_OUTCOMES: Final = frozenset(["succeeded", "failed"])
_MAX_TOP = 10
_MAX_DAYS_SHOWN = 60
_RETRIES = frozenset([DecisionAction.RETRY.value, DecisionAction.RETRY_WITH_PARAMS.value])

Verdict = Literal["right", "wrong", "unknown"]


@dataclass(frozen=True, slots=True)
class DecisionStatistics:
    """Of one decision. `succeeded` and `failed` count retried runs, `canceled` what ended otherwise."""

    decision: str
    count: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    wrong_diagnoses: int = 0

    @property
    def open(self) -> int:
        return self.count - self.succeeded - self.failed - self.canceled

    @property
    def success_percent(self) -> int | None:
        """Of the runs whose retry succeeded or failed; None where there is none."""
        known = self.succeeded + self.failed
        return round(100 * self.succeeded / known) if known else None


@dataclass(frozen=True, slots=True)
class Period:
    """A day, or a week where there are many. `counts` is by decision."""

    first_day: date
    counts: Mapping[str, int]
    succeeded: int
    failed: int

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class StrategyStatistics:
    """`right` and `wrong` are of the failures whose retry succeeded or failed; of the others it is not known."""

    strategy: str
    model: str
    decisions: Mapping[str, int]
    right: int
    wrong: int
    unknown: int

    @property
    def right_percent(self) -> int | None:
        known = self.right + self.wrong
        return round(100 * self.right / known) if known else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of the failures about which both strategies decided."""

    failures: int
    agreed: int
    primary: StrategyStatistics
    observed: StrategyStatistics


@dataclass(frozen=True, slots=True)
class HistoryStatistics:
    decisions: tuple[DecisionStatistics, ...]
    total: DecisionStatistics
    periods: tuple[Period, ...]
    days_of_period: int
    causes: tuple[tuple[str, int], ...]
    jobs: tuple[tuple[str, int], ...]
    actions: Mapping[str, int]
    sources: Mapping[str, int] = field(default_factory=dict)
    comparison: Comparison | None = None


def history_statistics(records: Sequence[DecisionRecord], first_day: date, last_day: date) -> HistoryStatistics:
    """Of the runs that ended from the one day to the other, of UTC. `comparison` is None without a second strategy."""
    primary = [record for record in records if record.strategy == PRIMARY]
    by_decision: dict[str, list[DecisionRecord]] = defaultdict(list)
    for record in primary:
        by_decision[record.decision].append(record)
    order = [action.value for action in DecisionAction]
    order += sorted(by_decision.keys() - set(order))
    days = 1 if (last_day - first_day).days < _MAX_DAYS_SHOWN else 7
    return HistoryStatistics(
        decisions=tuple(_of_decision(name, by_decision.get(name, [])) for name in order),
        total=_of_decision("all", primary),
        periods=tuple(_periods(primary, first_day, last_day, days)),
        days_of_period=days,
        causes=_top(record.cause or "unknown" for record in primary),
        jobs=_top(record.job_name or f"job {record.job_id}" for record in primary),
        actions=Counter(record.action for record in primary),
        sources=Counter(record.source for record in primary),
        comparison=_comparison(records),
    )


def day_of(record: DecisionRecord) -> date | None:
    """The day on which the run ended, as its key says."""
    try:
        return date.fromisoformat(record.key[:8])
    except ValueError:
        return None


def _of_decision(name: str, records: Sequence[DecisionRecord]) -> DecisionStatistics:
    outcomes = Counter(record.outcome for record in records)
    return DecisionStatistics(
        decision=name,
        count=len(records),
        succeeded=outcomes["succeeded"],
        failed=outcomes["failed"],
        canceled=outcomes["canceled"] + outcomes["unknown"],
        wrong_diagnoses=sum(record.wrong_diagnosis > 0 for record in records),
    )


def _periods(records: Sequence[DecisionRecord], first_day: date, last_day: date, days: int) -> Iterable[Period]:
    by_period: dict[int, list[DecisionRecord]] = defaultdict(list)
    for record in records:
        if (day := day_of(record)) is not None and first_day <= day <= last_day:
            by_period[(day - first_day).days // days].append(record)
    for number in range((last_day - first_day).days // days + 1):
        of_period = by_period.get(number, [])
        yield Period(
            first_day + timedelta(days=number * days),
            Counter(record.decision for record in of_period),
            sum(record.outcome == "succeeded" for record in of_period),
            sum(record.outcome == "failed" for record in of_period),
        )


def _top(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    counts = Counter(names)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_TOP])


def _comparison(records: Sequence[DecisionRecord]) -> Comparison | None:
    primary = {record.key: record for record in records if record.strategy == PRIMARY}
    pairs = [
        (primary[key], record)
        for record in records
        if record.strategy == OBSERVED and (key := record.key.removesuffix(f"-{OBSERVED}")) in primary
    ]
    if not pairs:
        return None
    return Comparison(
        failures=len(pairs),
        agreed=sum(acted.decision == observed.decision for acted, observed in pairs),
        primary=_of_strategy(PRIMARY, [(acted, acted) for acted, _ in pairs]),
        observed=_of_strategy(OBSERVED, pairs),
    )


def _of_strategy(name: str, pairs: Sequence[tuple[DecisionRecord, DecisionRecord]]) -> StrategyStatistics:
    verdicts = Counter(verdict(acted, decided.decision) for acted, decided in pairs)
    models = Counter(decided.model for _, decided in pairs if decided.model)
    return StrategyStatistics(
        strategy=name,
        model=models.most_common(1)[0][0] if models else "",
        decisions=Counter(decided.decision for _, decided in pairs),
        right=verdicts["right"],
        wrong=verdicts["wrong"],
        unknown=verdicts["unknown"],
    )


def verdict(acted: DecisionRecord, decision: str) -> Verdict:
    """Whether a decision was right, by what became of the retry that was made. A retry that succeeded does not say
    whether the other kind of retry would have.
    """
    if acted.outcome == "failed":
        return "right" if decision == DecisionAction.ESCALATE_EMAIL.value else "wrong"
    if acted.outcome != "succeeded":
        return "unknown"
    if decision not in _RETRIES:
        return "wrong"
    done = acted.decision if acted.decision in _RETRIES else DecisionAction.RETRY.value
    return "right" if decision == done else "unknown"
