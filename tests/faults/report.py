"""The figures of a run, for people."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from statistics import median

from tests.faults.channel_faults import Fault
from tests.faults.floors import answers_gone_on_with, repeats_of_running, turns_taken_over
from tests.faults.plan import Kind, Question
from tests.faults.run import Run
from tests.faults.verdict import is_marked


def table(run: Run) -> str:
    rows = list(_rows(run))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def slowest(run: Run) -> list[Question]:
    """The slowest answers first."""
    answered = [question for question in run.plan.questions if run.teams.finals(question.id)]
    return sorted(answered, key=lambda question: question.asked_at - (run.teams.finals(question.id)[0].final_at or 0))


def _rows(run: Run) -> Iterator[tuple[str, str]]:
    questions, workers = run.plan.questions, list(run.workers.all.values())
    kinds = [f"{sum(question.kind is kind for question in questions)} {kind}" for kind in Kind]
    conversations = len({question.conversation for question in questions})
    yield "seed", str(run.plan.seed)
    yield "questions", f"{len(questions)} in {conversations} conversations: {', '.join(kinds)}"
    yield (
        "wall time",
        (
            f"{run.seconds:.0f} s, {run.plan.seconds:.0f} s of it with questions coming in; "
            f"{run.seconds_to_start:.0f} s to start"
        ),
    )
    planned = [*run.plan.kills, *(pause.kill for pause in run.plan.pauses)]
    for how in (signal.SIGKILL, signal.SIGTERM):
        killed = sum(worker.killed_by is how for worker in workers)
        yield f"killed by {how.name}", f"{killed}, planned {sum(kill.signal is how for kill in planned)}"
    asked = [
        worker.ended_at - worker.killed_at
        for worker in run.chaos.killed_workers
        if worker.killed_at and worker.ended_at
    ]
    yield "longest time to end", f"{max(asked, default=0.0):.1f} s"
    yield (
        "because a turn was at its last attempt",
        (
            f"{run.chaos.elsewhere} kills took another worker, {len(run.chaos.left_out)} events were left out, "
            f"all were held up for {run.chaos.held_up:.1f} s together"
        ),
    )
    yield "storage stood still", ", ".join(f"{end - begin:.1f} s" for begin, end in run.chaos.pauses)
    yield from _deliveries(run)
    yield from _takeovers(run)
    given = run.teams.channel_faults.given if run.teams.channel_faults else {}
    for fault in Fault:
        yield f"channel: {fault}", str(given.get(fault, 0))
    yield "channel: too fast", f"{run.teams.hurried} refused with 429"
    yield "updates dropped for their number", str(run.teams.dropped_updates)
    yield "bubbles left half, id lost", str(sum(len(run.teams.left_open(question.id)) for question in questions))
    yield "streams opened beside an open one", str(len(run.teams.side_by_side))
    yield "the machine was slower", _slowdown(run)
    yield from _answers(run)


def _slowdown(run: Run) -> str:
    beats = [slowdown for _, slowdown in run.heartbeat.beats]
    return f"median {median(beats):.1f} times, worst {run.heartbeat.worst_slowdown:.1f} times for five seconds"


def _deliveries(run: Run) -> Iterator[tuple[str, str]]:
    deliveries = run.deliveries.all
    refused = [delivery for delivery in deliveries if not delivery.taken]
    kinds = sorted({str(delivery.answer) for delivery in refused})
    counted = ", ".join(f"{sum(str(each.answer) == kind for each in refused)} {kind}" for kind in kinds)
    yield "deliveries", str(len(deliveries))
    yield "not acknowledged, repeated", f"{len(refused)} ({counted})"
    again = sum(question.repeated_after is not None for question in run.plan.questions)
    taken = sum(each.repeat and each.taken for each in deliveries)
    yield "delivered again on purpose", f"{taken} of {again}, {repeats_of_running(run)} while the turn ran"
    acknowledged_after = [each.ended_at - each.at for each in deliveries if each.taken and each.ended_at is not None]
    yield "longest acknowledgement", f"{max(acknowledged_after, default=0.0):.1f} s"


def _takeovers(run: Run) -> Iterator[tuple[str, str]]:
    closed = run.ledger_reader.closed.values()
    for number, which in enumerate(("first", "second", "third")):
        taken_over_after = [seconds[number] for seconds in kills_cost(run).values() if len(seconds) > number]
        yield (
            f"from a turn's {which} SIGKILL until it was taken over",
            f"{len(taken_over_after)} times, {_spread(taken_over_after)}",
        )
    attempt_count = [sum(record.attempt_count == number for record in closed) for number in (1, 2, 3)]
    yield (
        "turns taken over",
        f"{turns_taken_over(run)}, in {answers_gone_on_with(run)} the model went on with its answer",
    )
    yield "turns with 1, 2, 3, more tries", ", ".join(map(str, [*attempt_count, len(closed) - sum(attempt_count)]))


def kills_cost(run: Run) -> dict[str, list[float]]:
    """Of each turn, in seconds: how long nobody had it after each of its workers was killed. The lease is in it."""
    cost: dict[str, list[float]] = {}
    for question in run.plan.questions:
        for taken in run.tap.takeovers(question):
            before = run.workers.all[taken.before]
            if (
                before.killed_by is signal.SIGKILL
                and before.killed_at is not None
                and before.killed_at <= taken.at
                and taken.before != taken.after
            ):
                cost.setdefault(question.id, []).append(taken.at - before.killed_at)
    return cost


def _answers(run: Run) -> Iterator[tuple[str, str]]:
    for kind in Kind:
        questions = [question for question in run.plan.questions if question.kind is kind]
        finals = [bubble for question in questions for bubble in run.teams.finals(question.id)]
        answered_at = [
            run.teams.finals(question.id)[0].final_at or 0.0 for question in questions if run.teams.finals(question.id)
        ]
        asked_at = [question.asked_at for question in questions if run.teams.finals(question.id)]
        yield (
            f"{kind}: to the answer",
            _spread([end - begin for end, begin in zip(answered_at, asked_at, strict=True)]),
        )
        plain = sum(not bubble.stream for bubble in finals) if kind is not Kind.GROUP else 0
        marked = sum(map(is_marked, finals))
        beside = f", {plain} not in a stream" if plain else ""
        yield f"{kind}: answers", f"{len(finals)} for {len(questions)}{beside}; {marked} marked"
    told = sum(len(run.teams.told_to_ask_again(question.id)) for question in run.plan.questions)
    yield "told to ask again", f"{told}, because storage stood still"
    counts = [len(run.teams.finals(question.id)) for question in run.plan.questions]
    several = [f"{counts.count(times)} {times} times" for times in range(2, max(counts, default=0) + 1)]
    yield "answers that stand more than once", f"{sum(count > 1 for count in counts)} ({', '.join(several) or 'none'})"


def _spread(seconds: Sequence[float]) -> str:
    return f"median {median(seconds):.1f} s, worst {max(seconds):.1f} s" if seconds else "none"
