"""`python -m tests.faults --seed 7 --questions 300 --conversations 60 --minutes 2 --runs 3`"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults.floors import too_mild
from tests.faults.plan import make_plan
from tests.faults.report import slowest, table
from tests.faults.run import LOCK_SECONDS, WORKERS, perform
from tests.faults.verdict import complaints, story

# Seconds of a run that no questions come in: the start, the last answers, and the silence after them.
QUIET = 45.0


def main() -> int:
    options = _options()
    failed = 0
    for number in range(options.runs):
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        _say(f"Seed {options.seed + number}; the workers' logs are in {folder}")
        failed += not asyncio.run(_run(options, options.seed + number, folder))
    return 1 if failed else 0


async def _run(options: argparse.Namespace, seed: int, folder: Path) -> bool:
    task = asyncio.current_task()
    assert task
    # As Ctrl-C: whatever runs is ended on the way out.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    plan = make_plan(
        seed,
        questions=options.questions,
        conversations=options.conversations,
        seconds=max(options.minutes * 60 - QUIET, 10.0),
        workers=WORKERS,
    )
    run = await perform(plan, folder, lock_seconds=options.lock_seconds)
    _say(table(run))
    for question in slowest(run)[: options.stories]:
        _say(f"  {question.kind}, {question.text!r}", story(run, question))
    wrong = [*too_mild(run), *complaints(run)]
    _say(*wrong, f"{len(wrong)} complaints" if wrong else "Nothing lost, nothing twice.")
    return not wrong


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--conversations", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long a run takes, about")
    parser.add_argument("--runs", type=int, default=1, help="how many, each with the next seed")
    hidden = "how many seconds a message stays hidden when its host is killed; in Azure 600 (%(default)s)"
    parser.add_argument("--lock-seconds", type=float, default=LOCK_SECONDS, help=hidden)
    parser.add_argument("--stories", type=int, default=0, help="tells what happened to that many of the slowest")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
