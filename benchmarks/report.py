"""The table for the terminal, and the JSON that later runs are compared with."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.figures import FIGURES, Values
from benchmarks.measure import MeasuredFigures

RESULTS = Path(__file__).parent / "results"
_COLUMNS = ("", "floor", "plain bot", "ours", "ours/floor", "ours/plain", "budget for ours", "")


@dataclass(frozen=True, slots=True)
class Machine:
    cores: int
    processor: str
    python: str
    system: str
    load_at_start: float

    def __str__(self) -> str:
        return (
            f"{self.cores} cores, {self.processor}; Python {self.python}, {self.system}; "
            f"load average {self.load_at_start:.1f} when it began"
        )


@dataclass(slots=True)
class Results:
    """One run. `figures` by the names of FIGURES, then by subject, one value for each round."""

    machine: Machine
    quick: bool
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, subject: str, measured: MeasuredFigures) -> None:
        for figure, value in measured.figures.items():
            self.figures.setdefault(figure, {}).setdefault(subject, []).append(value)
        self.notes += measured.notes

    def medians(self) -> dict[str, dict[str, float]]:
        return {
            figure: {subject: median(values) for subject, values in by_subject.items()}
            for figure, by_subject in self.figures.items()
        }


def this_machine() -> Machine:
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=found[0].partition(":")[2].strip() if found else platform.machine(),
        python=platform.python_version(),
        system=platform.platform(aliased=True, terse=True),
        load_at_start=os.getloadavg()[0],
    )


def table(values: Values) -> str:
    """One line per figure and budget, the verdict at its end."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for key, figure in FIGURES.items():
        found = values.get(key)
        if not found:
            continue
        title = f"{figure.title} ({figure.unit})" if figure.unit else figure.title
        cells = [_number(found.get(subject)) for subject in ("floor", "plain bot", "ours")]
        ratios = [_ratio(found, "floor"), _ratio(found, "plain bot")]
        budgets = [(str(budget), budget.verdict(key, values)) for budget in figure.budgets] or [("", "")]
        rows.append((title, *cells, *ratios, *budgets[0]))
        rows += [("", "", "", "", "", "", *budget) for budget in budgets[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    numbers = range(1, 6)
    cells = [
        cell.rjust(width) if i in numbers else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def _ratio(found: Mapping[str, float], against: str) -> str:
    ours, other = found.get("ours"), found.get(against)
    return f"{ours / other:.2f}" if ours is not None and other else ""


def save(results: Results) -> Path:
    """Writes everything to a file of its own in `benchmarks/results/`, and returns where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    medians = results.medians()
    budgets = {
        key: {str(budget): budget.verdict(key, medians) for budget in figure.budgets}
        for key, figure in FIGURES.items()
        if key in medians and figure.budgets
    }
    path.write_text(
        json.dumps({**asdict(results), "medians": medians, "budgets": budgets}, indent=1, ensure_ascii=False)
    )
    return path
