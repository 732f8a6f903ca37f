"""What people would complain about afterwards.

What they saw (lost, twice, order, text) holds however slow the machine is. Limits on times are judged only where the
heartbeat shows that the machine kept up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

from app.agent.user_messages import INTERRUPTION_NOTE, STORAGE_UNAVAILABLE
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.storage.ledger import TurnState
from tests.faults.deliveries import ACKNOWLEDGED_WITHIN, Delivery
from tests.faults.model import ModelCall
from tests.faults.plan import Question
from tests.faults.run import Run
from tests.faults.tap import Write
from tests.faults.teams import Bubble
from tests.faults.workers import Worker

# Seconds in which what a worker did may not have been written down when it was killed.
_UNWRITTEN = 3.0
# Seconds from when a worker takes a turn until it shows something.
_TAKING = 1.0
# Seconds that all are busy with what has waited for storage.
_CATCHING_UP = 5.0
# Seconds from when a worker asks for a turn to be entered until it is.
_ENTERING = 1.0
# Seconds before storage is back in which who comes need not wait for who has come.
_NEARLY_BACK = 1.2
# Seconds without a sign of life after which a turn holds the next one up no longer.
_PATIENCE = 30.0
# Of a run in which storage stops, on a machine that kept up.
_MOST_TOLD = 5


def complaints(run: Run) -> Iterator[str]:
    """Each in a few lines: what is wrong, and where it is about one question, all that happened to it."""
    yield from run.teams.breaches
    yield from run.model.breaches
    yield from _streams(run)
    for question in run.plan.questions:
        for complaint in _about(run, question):
            yield f"{question.kind}, {question.text!r}: {complaint}\n{story(run, question)}"
    for question in run.deliveries.never_taken:
        yield f"{question.kind}, {question.text!r}: never taken, however often it was delivered\n{story(run, question)}"
    yield from _acknowledgements(run)
    told = [question.text for question in run.plan.questions if run.teams.told_to_ask_again(question.id)]
    if len(told) > _MOST_TOLD and run.heartbeat.kept_up(0.0, run.seconds):
        yield f"{len(told)} times a person was told to ask again: {told}"
    for questions in conversations(run).values():
        if any(_passed_by(run, question) for question in questions):
            continue
        yield from _order(run, questions)
        yield from _history(run, questions)
        yield from _reminders(run, questions)
    if run.waiting:
        yield f"{run.waiting} messages are left on the queue"
    if run.poisoned:
        yield f"{run.poisoned} messages are on the poison queue"
    for worker in run.workers.all.values():
        if not worker.ended_by_itself:
            yield f"worker {worker.name} did not end when it was asked to"
        elif worker.killed_by is None and not run.stopped_on_purpose(worker):
            yield f"worker {worker.name} ended by itself, see {worker.log}"


def conversations(run: Run) -> dict[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for question in run.plan.questions:
        found.setdefault(question.conversation, []).append(question)
    return found


def _about(run: Run, question: Question) -> Iterator[str]:
    finals = run.teams.finals(question.id)
    told = run.teams.told_to_ask_again(question.id)
    if not finals and not told:
        yield "never answered"
    if (len(told) > 1 or (told and not run.chaos.pauses)) and run.heartbeat.kept_up(0.0, run.seconds):
        yield "told to ask again, though storage was there"
    if len(finals) > 1 and any(bubble.stream for bubble in finals):
        yield f"a streamed answer and {len(finals) - 1} more"
    if sum(not is_marked(bubble) for bubble in finals) > 1:
        yield "answered twice, and nothing says that it is the same answer"
    doubts = _doubts(run, question)
    for number, bubble in enumerate(filter(is_marked, finals), start=1):
        before = sum(at < bubble.at for at in doubts)
        if before < number:
            yield f"{number} marked as sent again, though only {before} times nobody knew what had arrived"
    if len(finals) > 1 + len(doubts):
        yield f"{len(finals)} answers, though only {len(doubts)} times nobody knew what had arrived"
    if any(not _is_right(bubble.text, question) for bubble in finals):
        yield "the answer is not the right one"
    if any(not _explained(run, bubble) for bubble in run.teams.left_open(question.id)):
        yield "a second bubble with half of an answer stays for ever"
    record = run.ledger_reader.closed.get(question.id)
    if record is None and told and not finals:
        return
    if record is None or record.state is not TurnState.ANSWERED:
        yield f"the ledger says {record.state if record else 'that it is open'}"


def is_marked(bubble: Bubble) -> bool:
    return SENT_AGAIN.english in bubble.text


def _is_right(text: str, question: Question) -> bool:
    text = text.replace(f"\n\n{SENT_AGAIN.english}", "")
    if INTERRUPTION_NOTE.english not in text:
        return text == question.answer
    return _same_letters(text.replace(INTERRUPTION_NOTE.english, ""), question.answer)


def _same_letters(text: str, answer: str) -> bool:
    """Which space stood where an answer was interrupted cannot be known."""
    return "".join(text.split()) == "".join(answer.split())


def _doubts(run: Run, question: Question) -> list[float]:
    """When it happened that nobody could know what had become of a message of this question."""
    signs = run.teams.signs_of(question.id)
    sent = [call for call in signs if call.kind == "message" and STORAGE_UNAVAILABLE.english not in call.text]
    unclear = [call.at for call in sent if call.fault is not None and call.fault.leaves_doubt]
    # Whoever takes over knows what was written down last, and no more.
    return sorted([*unclear, *(taken.at for taken in run.tap.takeovers(question))])


def _explained(run: Run, bubble: Bubble) -> bool:
    """Whether the id of a stream was lost on its way, or with the worker that had asked for it."""
    opening = next(call for call in run.teams.signs_of(bubble.question) if call.bubble == bubble.id)
    if opening.fault is not None:
        return True
    unwritten = run.heartbeat.stretched(_UNWRITTEN)
    if any(begin - unwritten <= bubble.at <= end for begin, end in run.chaos.pauses):
        return True
    openers = _openers(run, bubble.question, opening.at)
    if any(_killed(run.workers.all[name], opening.at, bubble.at + unwritten) for name in openers):
        return True
    # Or it stood still for longer than its lease before it had written the id down: another has the turn.
    taken = run.tap.takeovers(run.question(bubble.question))
    return bubble.sequence == 1 and any(each.at > opening.at and each.before in openers for each in taken)


def _streams(run: Run) -> Iterator[str]:
    for earlier, later in run.teams.side_by_side:
        if not _explained(run, earlier):
            stories = "\n".join(story(run, run.question(bubble.question)) for bubble in (earlier, later))
            yield f"a stream of {later.question} was opened while one of {earlier.question} was open\n{stories}"


def _openers(run: Run, question: str, at: float) -> set[str]:
    """Who had the turn then; two, if two were about to take it."""
    writes = run.tap.of(run.question(question))
    # Who enters what has been entered has nothing.
    its = [write for write in writes if write.at <= at and (not write.enters or write is writes[0])]
    return {write.worker for write in its if write is its[-1] or write.at > at - run.heartbeat.stretched(_TAKING)}


def _acknowledgements(run: Run) -> Iterator[str]:
    for delivery in run.deliveries.all:
        if delivery.timed_out and not _held_up(run, delivery):
            question = run.question(delivery.question)
            late = f"worker {delivery.worker} took more than {ACKNOWLEDGED_WITHIN:.0f} s to acknowledge it"
            yield f"{question.text!r}: {late}\n{story(run, question)}"


def _held_up(run: Run, delivery: Delivery) -> bool:
    ended = delivery.ended_at or run.seconds
    if not run.heartbeat.kept_up(delivery.at, ended):
        return True
    if any(
        begin <= ended and delivery.at <= end + run.heartbeat.stretched(_CATCHING_UP) for begin, end in run.chaos.pauses
    ):
        return True
    return _killed(run.workers.all[delivery.worker], delivery.at, ended)


def _killed(worker: Worker, after: float, before: float) -> bool:
    # One that is asked to end may work on until it has.
    return worker.killed_at is not None and after <= (worker.ended_at or before) and worker.killed_at <= before


def _order(run: Run, questions: Sequence[Question]) -> Iterator[str]:
    """By what the person sent, not by what the ledger made of it."""
    for earlier, later in combinations(_as_answered(run, questions), 2):
        tickets = [
            run.ledger_reader.closed[each.id].ticket for each in (earlier, later) if each.id in run.ledger_reader.closed
        ]
        wrong = run.first_sent(later) < run.first_sent(earlier) and _was_there(run, later, before=earlier)
        if wrong or tickets != sorted(tickets):
            stories = f"{story(run, later)}\n{story(run, earlier)}"
            yield f"{later.kind}: {later.text!r} was asked before {earlier.text!r} and answered after it\n{stories}"


def _was_there(run: Run, question: Question, *, before: Question) -> bool:
    """Whether the other had to wait for it: who had come before at its own worker, and in the same outage at any; and
    else who had been entered before it was. Not who was told to ask again, nor where storage was about to be back.
    """
    if run.teams.told_to_ask_again(question.id):
        return False
    first, second = _taken(run, question), _taken(run, before)
    if first and second and first.at <= second.at:
        in_an_outage = any(
            begin <= first.at and second.at <= end - run.heartbeat.stretched(_NEARLY_BACK)
            for begin, end in run.chaos.pauses
        )
        if in_an_outage or first.worker == second.worker:
            return True
    entered, entered_later = ([write.at for write in run.tap.of(each)] for each in (question, before))
    return bool(entered and entered_later) and entered[0] + run.heartbeat.stretched(_ENTERING) < entered_later[0]


def _taken(run: Run, question: Question) -> Delivery | None:
    """The first that was taken in the end, or that entered the turn though its answer was lost."""
    entered = next(iter(run.tap.of(question)), None)
    taken = [each for each in run.deliveries.of(question.id) if each.taken or _entered_by(entered, each)]
    return min(taken, key=lambda each: each.at, default=None)


def _entered_by(entered: Write | None, delivery: Delivery) -> bool:
    if entered is None or entered.worker != delivery.worker:
        return False
    return delivery.at <= entered.at and (delivery.ended_at is None or entered.at <= delivery.ended_at)


def _passed_by(run: Run, question: Question) -> bool:
    """Whether nobody had it for so long that the next of its conversation need not wait, and its order is lost."""
    return any(later.at - earlier.at > _PATIENCE for earlier, later in pairwise(run.tap.of(question)))


def _as_answered(run: Run, questions: Sequence[Question]) -> list[Question]:
    """In the order in which their first answers came."""
    answered = [question for question in questions if run.teams.finals(question.id)]
    return sorted(answered, key=lambda question: run.teams.finals(question.id)[0].order)


def _history(run: Run, questions: Sequence[Question]) -> Iterator[str]:
    ordered = _as_answered(run, questions)
    remembered = run.histories[questions[0].conversation]
    asked = [text for role, text in remembered if role == "user"]
    if asked != [question.text for question in ordered]:
        listed = "\n".join(f"    {text}" for text in asked)
        yield f"{questions[0].conversation}: remembered is not what was asked, each once and in order:\n{listed}"
        return
    answers = [text for role, text in remembered if role == "assistant"]
    for question, answer in zip(ordered, answers, strict=False):
        interrupted = bool(run.tap.takeovers(question))
        if not (_same_letters(answer, question.answer) if interrupted else answer == question.answer):
            yield f"{question.text!r}: what is remembered as its answer is {answer!r}"
    if len(answers) != len(asked):
        yield f"{questions[0].conversation}: {len(asked)} questions are remembered with {len(answers)} answers"


def _reminders(run: Run, questions: Sequence[Question]) -> Iterator[str]:
    """What the model was reminded of whenever it was asked: all that had been answered by then, each once."""
    answered = _as_answered(run, questions)
    for asked in run.model.asked:
        if asked.question not in {question.id for question in questions} or _is_late(run, asked):
            continue
        earlier = [
            question.text
            for question in answered
            if question.id != asked.question and (run.teams.finals(question.id)[0].final_at or 0) < asked.at
        ]
        reminded = [text for role, text in asked.history if role == "user"]
        if reminded != earlier:
            yield f"{asked.question}: the model was reminded of {reminded}, when {earlier} had been answered"


def _is_late(run: Run, asked: ModelCall) -> bool:
    """Whether the answer stood there already: who stalls beyond the lease asks in vain, and nobody sees it."""
    finals = run.teams.finals(asked.question)
    return bool(finals) and (finals[0].final_at or 0.0) < asked.at


def story(run: Run, question: Question) -> str:
    """What happened to one question, as far as anybody outside can know."""
    lines: list[tuple[float, str]] = []
    for delivery in run.deliveries.of(question.id):
        again = "again " if delivery.repeat else ""
        lines.append((delivery.at, f"delivered {again}to worker {delivery.worker}"))
        if delivery.ended_at is not None:
            lines.append((delivery.ended_at, f"  … worker {delivery.worker} answered that: {delivery.answer}"))
    for asked in run.model.asked:
        if asked.question == question.id:
            going_on = f", going on after {len(asked.shown)} characters" if asked.shown else ""
            lines.append((asked.at, f"worker {asked.worker} asks the model{going_on}"))
    owners: set[str] = set()
    for write in run.tap.of(question):
        if write.owner not in owners and not write.enters:
            lines.append((write.at, f"worker {write.worker} takes it over, or would"))
        owners.add(write.owner)
    for call in run.teams.signs_of(question.id):
        fault = f", channel: {call.fault}" if call.fault else ""
        lines.append((call.at, f"{call.kind} {call.text!r} → {call.status or 'no answer'}{fault}"))
    for worker in run.workers.all.values():
        if worker.killed_at is not None and lines and min(lines)[0] <= worker.killed_at <= max(lines)[0]:
            lines.append((worker.killed_at, f"({worker.killed_by.name if worker.killed_by else ''} to {worker.name})"))
    lines += [(begin, f"(storage stands still until {end:.1f})") for begin, end in run.chaos.pauses]
    return "\n".join(f"    {at:7.2f} s  {line}" for at, line in sorted(lines))
