"""`python -m benchmarks [--quick] [names]`: our bot, a floor and a plain bot, measured in one run."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.cold_start import cold
from benchmarks.foundry_backlog import foundry_backlog
from benchmarks.measure import FULL, QUICK, Effort, MeasuredFigures, crowd, depth, load, loop, turns
from benchmarks.process import OURS, SUBJECTS, Fakes, Subject, SubjectError, running_fakes
from benchmarks.report import Results, save, table, this_machine
from benchmarks.storage_overhead import storage_overhead
from benchmarks.tools import tools

MEASUREMENTS = {
    "turns": turns,
    "load": load,
    "crowd": crowd,
    "cold": cold,
    "storage_overhead": storage_overhead,
    "depth": depth,
    "loop": loop,
    "tools": tools,
    "foundry_backlog": foundry_backlog,
}
OURS_ALONE = ("storage_overhead", "depth", "loop", "tools", "foundry_backlog")
REPEATED = ("turns",)
"""In rounds, one subject after the other, so that a busy minute of the machine affects them all."""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(MEASUREMENTS)
    arguments.add_argument("names", nargs="*", metavar="name", help=f"what to measure, of: {names} (all)")
    arguments.add_argument("--quick", action="store_true", help="fewer repetitions, for a first impression")
    given = arguments.parse_args()
    unknown = set(given.names) - set(MEASUREMENTS)
    if unknown:
        arguments.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {names}")
    if sys.platform != "linux":
        print("The benchmarks read /proc and per-process clocks and therefore need Linux.")
        return 0
    try:
        return _run(given.names or list(MEASUREMENTS), QUICK if given.quick else FULL)
    except KeyboardInterrupt:
        print("\nStopped; nothing was saved.")
        return 130


def _run(names: list[str], effort: Effort) -> int:
    results, began = Results(machine=this_machine(), quick=effort is QUICK), time.monotonic()
    print(results.machine)
    with running_fakes() as fakes:
        for name in names:
            rounds = effort.rounds if name in REPEATED else 1
            for _ in range(rounds):
                for subject in (OURS,) if name in OURS_ALONE else SUBJECTS:
                    _measure(name, subject, fakes, effort, results)
    print(f"\n{table(results.medians())}")
    for note in results.notes:
        print(f"  {note}")
    for failure in results.failures:
        print(f"  failed, so not in the table: {failure.splitlines()[0]}")
    print(f"\n{time.monotonic() - began:.0f} s; also in {save(results)}")
    return 1 if results.failures else 0


def _measure(name: str, subject: Subject, fakes: Fakes, effort: Effort, results: Results) -> None:
    if not subject.exists:
        results.failures.append(f"{name}: there is no {subject.module} to run")
        return
    started = time.monotonic()
    try:
        measured: MeasuredFigures = MEASUREMENTS[name](subject, fakes, effort)
    except SubjectError as failure:
        print(f"  {name}: {subject.name} failed: {failure}", flush=True)
        results.failures.append(f"{name}: {subject.name}: {failure}")
        return
    results.add(subject.name, measured)
    print(f"  {name}: {subject.name}, {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
