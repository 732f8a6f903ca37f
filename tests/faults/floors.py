"""What a run of full size has to have been through before "nothing lost, nothing twice" says anything."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from tests.faults.channel_faults import Fault
from tests.faults.run import Run

QUESTIONS = 150
"""Asked in a run that proves something. A smaller one is for a quick look; one on a busy machine
has its kills and pauses held up."""
_KILLED = {signal.SIGKILL: 5, signal.SIGTERM: 5}
_PAUSES = 2
# Seconds.
_LONG_PAUSE = 4.5
_MET_RUNNING = 3
_TAKEN_OVER = 15
_GONE_ON = 5


def too_mild(run: Run) -> Iterator[str]:
    if len(run.plan.questions) < QUESTIONS or not run.heartbeat.kept_up(0.0, run.seconds):
        return
    for how, least in _KILLED.items():
        yield from _fewer(f"{how.name}s", sum(worker.killed_by is how for worker in run.chaos.killed_workers), least)
    long = sum(end - begin >= _LONG_PAUSE for begin, end in run.chaos.pauses)
    yield from _fewer(f"times that storage stood still for {_LONG_PAUSE} s", long, _PAUSES)
    planned = [question for question in run.plan.questions if question.repeated_after is not None]
    yield from _fewer("planned repeats", len(planned), len(run.plan.questions) // 10)
    repeated = [any(each.repeat and each.taken for each in run.deliveries.of(question.id)) for question in planned]
    yield from _fewer("repeats that were taken", sum(repeated), len(planned))
    yield from _fewer("repeats of a turn that was running", repeats_of_running(run), _MET_RUNNING)
    for fault in Fault:
        yield from _fewer(
            f"faults of the channel: {fault}",
            run.teams.channel_faults.given[fault] if run.teams.channel_faults else 0,
            1,
        )
    yield from _fewer("turns taken over by another worker", turns_taken_over(run), _TAKEN_OVER)
    yield from _fewer("answers that were gone on with", answers_gone_on_with(run), _GONE_ON)


def repeats_of_running(run: Run) -> int:
    """Repeats that arrived, where the question had been taken and its answer was not complete."""
    count = 0
    for question in run.plan.questions:
        deliveries = run.deliveries.of(question.id)
        finals = run.teams.finals(question.id)
        done = (finals[0].final_at or 0.0) if finals else run.seconds
        writes = run.tap.of(question)
        entered_at = writes[0].at if writes else run.seconds
        count += any(each.repeat and each.taken and entered_at < each.at < done for each in deliveries)
    return count


def turns_taken_over(run: Run) -> int:
    return sum(
        any(taken.before != taken.after for taken in run.tap.takeovers(question)) for question in run.plan.questions
    )


def answers_gone_on_with(run: Run) -> int:
    return len({asked.question for asked in run.model.asked if asked.shown})


def _fewer(what: str, count: int, least: int) -> Iterator[str]:
    if count < least:
        yield f"too mild: {count} {what}, and it takes {least}"
