"""`python -m benchmarks [--quick] [names]`: ours beside a floor and a plain bot, measured in one run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

NAMES = ("turns", "load", "crowd", "cold", "depth", "loop")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="name", help=f"what to measure, of: {', '.join(NAMES)} (all)")
    arguments.add_argument("--quick", action="store_true", help="fewer repetitions: a look, not figures to quote")
    given = arguments.parse_args()
    unknown = set(given.names) - set(NAMES)
    if unknown:
        arguments.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if sys.platform != "linux":
        print("The benchmarks read /proc and per-process clocks and therefore need Linux.")
        return 0
    return _run(given.names or list(NAMES), quick=given.quick)


def _run(names: list[str], *, quick: bool) -> int:
    from benchmarks import cold_start, measure, report
    from benchmarks.process import OURS, SUBJECTS, Fakes, Subject, SubjectFailed, running_fakes

    effort = measure.QUICK if quick else measure.FULL
    machine, began = report.this_machine(), time.monotonic()
    values: dict[str, dict[str, float]] = {}
    notes: dict[str, Any] = {"quick": quick, "failures": [], "blocks": []}
    subjects = [subject for subject in SUBJECTS if subject.exists]
    print(
        f"{machine}\nEvery figure with its neighbours from the same run; budgets are ratios, nothing here is asserted."
    )

    def attempt(name: str, subject: Subject, take: Callable[[], dict[str, float]]) -> None:
        started = time.monotonic()
        try:
            for figure, value in take().items():
                values.setdefault(figure, {})[subject.name] = value
        except SubjectFailed as failure:
            print(f"    {subject.name} failed: {failure}")
            notes["failures"].append({"measurement": name, "subject": subject.name, "what": str(failure)})
        print(f"  {name}: {subject.name}, {time.monotonic() - started:.0f} s", flush=True)

    def loop(fakes: Fakes) -> dict[str, float]:
        measured, notes["blocks"] = measure.loop(fakes, effort)
        return measured

    compared: dict[str, Callable[[Subject, Fakes, measure.Effort], dict[str, float]]] = {
        "turns": measure.turns,
        "load": measure.load,
        "crowd": measure.crowd,
        "cold": cold_start.cold,
        "depth": measure.depth,
    }
    with running_fakes() as fakes:
        for name in names:
            if name == "loop":
                if OURS in subjects:
                    attempt(name, OURS, lambda: loop(fakes))
                continue
            for subject in subjects:
                attempt(name, subject, lambda s=subject, n=name: compared[n](s, fakes, effort))  # type: ignore[misc]
    print("\n" + report.table(values))
    for block in notes["blocks"]:
        print(f"  held the loop {block['held'] * 1000:.0f} ms: {block['where']}")
    path = report.save(values, machine, notes)
    print(f"\n{time.monotonic() - began:.0f} s; also in {path}")
    return 1 if notes["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
