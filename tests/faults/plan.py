"""What happens in a run, drawn from its seed alone: who asks what and when, what the channel does, who is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Any

TENANT = "00000000-0000-0000-0000-000000000001"
BOT = "28:bot"
# Every so many-th message is delivered again though it was acknowledged.
_REPEATED = 10
_MENTION = "<at>Bricks</at>"
_SUBJECTS = ("lakes", "orders", "trains", "bridges", "invoices", "storms", "tables", "harbours", "tickets", "islands")
_WORDS = ("amber", "basin", "cedar", "delta", "ember", "fjord", "grain", "harbor", "inlet", "jasper", "kelp", "lumen")


class Kind(StrEnum):
    TEAMS = "Teams, one to one"
    COPILOT = "Copilot"
    GROUP = "group chat"


@dataclass(frozen=True, slots=True)
class Question:
    """Times in seconds: `asked_at` from the start of the run, `repeated_after` from when it was first sent. `slot` is
    that of the worker it comes to, drawn from the seed where there is none.
    """

    id: str
    kind: Kind
    conversation: str
    text: str
    answer: str
    asked_at: float
    thinks_for: float
    speaks_for: float
    repeated_after: float | None = None
    slot: int | None = None

    def activity(self, service_url: str) -> dict[str, Any]:
        """As this kind of chat delivers it."""
        activity: dict[str, Any] = {
            "type": "message",
            "id": self.id,
            "serviceUrl": service_url,
            "channelId": "msteams",
            "from": {"id": "29:ann", "name": "Ann", "aadObjectId": "00000000-0000-0000-0000-000000000002"},
            "recipient": {"id": BOT, "name": "Bricks"},
            "conversation": {"id": self.conversation, "conversationType": "personal", "tenantId": TENANT},
            "channelData": {"tenant": {"id": TENANT}},
            "textFormat": "plain",
            "locale": "en-US",
            "text": self.text,
        }
        if self.kind is Kind.COPILOT:
            activity["channelData"]["productContext"] = "COPILOT"
        if self.kind is Kind.GROUP:
            activity["conversation"] |= {"conversationType": "groupChat", "isGroup": True}
            mentioned = {"id": BOT, "name": "Bricks"}
            activity["entities"] = [{"type": "mention", "mentioned": mentioned, "text": _MENTION}]
            activity["text"] = f"{_MENTION} {self.text}"
        return activity


@dataclass(frozen=True, slots=True)
class Kill:
    at: float
    worker: int
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Pause:
    """Storage stops, and while it does a worker is killed."""

    at: float
    kill: Kill
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds` is how long questions are asked."""

    seed: int
    seconds: float
    questions: tuple[Question, ...]
    kills: tuple[Kill, ...]
    pauses: tuple[Pause, ...]


def make_plan(seed: int, *, questions: int, conversations: int, seconds: float, workers: int) -> Plan:
    """Half of the conversations are in Teams, a quarter in Copilot, a quarter in groups."""
    asked: list[Question] = []
    for number in range(conversations):
        share = questions // conversations + (number < questions % conversations)
        asked += _conversation(Random(f"{seed}/conversation {number}"), number, share, seconds)
    asked.sort(key=lambda question: question.asked_at)
    asked[::_REPEATED] = [
        replace(question, repeated_after=Random(f"{seed}/repeat {question.id}").uniform(1, 20))
        for question in asked[::_REPEATED]
    ]
    random = Random(f"{seed}/storm")
    kills = tuple(_kills(random, seconds, workers))
    return Plan(seed, seconds, tuple(asked), kills, tuple(_pauses(random, seconds, workers)))


def two_in_an_outage(seed: int, outage: tuple[float, float], *, conversations: int) -> Plan:
    """In each conversation a question comes to the first worker and then one to the second, in those seconds; neither
    comes in the last of them. Both workers have been asked something before.
    """
    began, ended = outage
    asked: list[Question] = []
    for number in range(conversations):
        random = Random(f"{seed}/outage {number}")
        first = random.uniform(began + 0.2, ended - 2.3)
        for slot, at in enumerate((first, first + random.uniform(0.5, 1.2))):
            asked.append(replace(_question(random, f"{number:03d}-{slot + 1}", *_place(number), at), slot=slot))
    for slot in range(2):
        random, number = Random(f"{seed}/before the outage {slot}"), conversations + slot
        asked.append(replace(_question(random, f"{number:03d}-1", *_place(number), 0.1), slot=slot))
    asked.sort(key=lambda question: question.asked_at)
    return Plan(seed, ended, tuple(asked), (), ())


def _place(number: int) -> tuple[Kind, str]:
    kind = (Kind.TEAMS, Kind.COPILOT, Kind.TEAMS, Kind.GROUP)[number % 4]
    return kind, f"19:{number:03d}@thread.v2" if kind is Kind.GROUP else f"a:{number:03d}"


def _conversation(random: Random, number: int, questions: int, seconds: float) -> list[Question]:
    kind, name = _place(number)
    # Some follow at once, while the one before is being answered; the others when it may have been.
    gaps = [random.uniform(0.3, 1.5) if random.random() < 0.4 else random.uniform(4, 25) for _ in range(questions)]
    scale = min(1.0, seconds * random.uniform(0.7, 1.0) / sum(gaps)) if gaps else 1.0
    at = random.uniform(0, max(0.0, seconds - sum(gaps) * scale))
    asked = []
    for position, gap in enumerate(gaps):
        asked.append(_question(random, f"{number:03d}-{position + 1}", kind, name, at))
        at += gap if gap < 2 else gap * scale
    return asked


def _question(random: Random, name: str, kind: Kind, conversation: str, at: float) -> Question:
    words = [random.choice(_WORDS) for _ in range(random.randint(8, 60))]
    half = len(words) // 2
    sort = random.random()
    return Question(
        id=f"question-{name}",
        kind=kind,
        conversation=conversation,
        text=f"Question {name}: what of the {random.choice(_SUBJECTS)}?",
        answer=f"Answer to {name}: {' '.join(words[:half])}.\n\nAnd then {' '.join(words[half:])}.",
        asked_at=at,
        # Most are quick; some think first, a few speak for longer than the channel waits for its answer.
        thinks_for=random.uniform(3, 6) if sort < 0.05 else random.uniform(0.05, 0.4),
        speaks_for=random.uniform(12, 15) if sort > 0.98 else random.uniform(0.2, 3.0),
    )


def _kills(random: Random, seconds: float, workers: int) -> list[Kill]:
    kills: list[Kill] = []
    at = random.uniform(3, 6)
    while at < seconds:
        kills.append(Kill(at, random.randrange(workers), (signal.SIGKILL, signal.SIGTERM)[len(kills) % 2]))
        at += random.uniform(3, 7)
    return kills


def _pauses(random: Random, seconds: float, workers: int) -> Iterator[Pause]:
    for part, how in ((0.2, signal.SIGTERM), (0.5, signal.SIGKILL)):
        at = seconds * (part + random.uniform(0, 0.1))
        yield Pause(at, Kill(at + random.uniform(0.5, 4.0), random.randrange(workers), how))
