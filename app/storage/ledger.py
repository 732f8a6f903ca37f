"""The ledger of turns: a turn is entered once, belongs to one worker at a time, and is closed with what was said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeGuard

from app.storage.conversations import ConversationKey, ConversationLog, StoredMessage
from app.storage.keyed_records import Records

# Seconds. Who takes longer to enter a turn has met storage that did not answer.
PROMPT_SECONDS = 0.5
MAX_TURN_CHARACTERS = 80_000


class TurnState(StrEnum):
    STARTED = "started"
    ANSWERED = "answered"
    FAILED = "failed"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class TurnKey:
    """`activity` is the id that the channel gave the question: its repeats have the same."""

    conversation: ConversationKey
    activity: str


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A row of the ledger as it was read; `version` changes with every write.

    `ticket` puts the turns of a conversation into the order in which they are answered: the milliseconds since 1970 at
    which it was asked, or the next number that is free. `owner` names one attempt to answer, never two. `lease_until`
    is in seconds since 1970: after it another worker may claim the turn.

    `payload` is what that one needs to answer, `checkpoint` how far the answer has come, `result` what a closed turn is
    remembered by. The row's writer decides on their content; together they may have `MAX_TURN_CHARACTERS`. A turn that
    is answered or failed keeps neither payload nor checkpoint.
    """

    key: TurnKey
    ticket: int
    state: TurnState
    owner: str
    lease_until: float
    attempt_count: int = 1
    payload: str = ""
    checkpoint: str = ""
    result: str = ""
    version: str = ""

    def changed(
        self,
        *,
        owner: str | None = None,
        lease_until: float | None = None,
        attempt_count: int | None = None,
        checkpoint: str | None = None,
    ) -> TurnRecord:
        return replace(
            self,
            owner=self.owner if owner is None else owner,
            lease_until=self.lease_until if lease_until is None else lease_until,
            attempt_count=self.attempt_count if attempt_count is None else attempt_count,
            checkpoint=self.checkpoint if checkpoint is None else checkpoint,
        )

    def ended(self, state: TurnState, result: str) -> TurnRecord:
        """The row once the turn is closed or suspended."""
        if state is TurnState.SUSPENDED:
            return replace(self, state=state, result=result)
        return replace(self, state=state, payload="", checkpoint="", result=result)


@dataclass(frozen=True, slots=True)
class BeginResult:
    """`history`: the last messages, oldest first.

    `has_predecessor`: the turn still has to be started, because an earlier turn of the conversation is open, or because
    storage was `delayed`: then a question that was asked before may still be on its way.
    """

    record: TurnRecord
    history: tuple[StoredMessage, ...]
    has_predecessor: bool
    delayed: bool = False


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An open turn that another has to wait for. `lease_until` in seconds since 1970."""

    ticket: int
    lease_until: float


def entered_by(found: TurnRecord | None, owner: str) -> TypeGuard[TurnRecord]:
    """Whether the turn is open and was entered by `owner`, in an earlier try of the same call."""
    return found is not None and (found.owner, found.state) == (owner, TurnState.STARTED)


def next_ticket(wanted: int, *, started: int, taken: Collection[int]) -> int:
    """The first from `wanted` on that is beyond `started` and not `taken`."""
    ticket = max(wanted, started + 1)
    while ticket in taken:
        ticket += 1
    return ticket


class ConcurrentUpdateError(Exception):
    """Another worker has written the row since it was read."""


class TurnLedger(Protocol):
    async def begin(self, turn: TurnRecord, *, remember: int) -> BeginResult | None:
        """Enters `turn` with the first free ticket from its own on, after those of all turns that have been started;
        None if its key has been entered before.

        It is started at once if no earlier turn is open and it took no longer than `PROMPT_SECONDS`. An open turn that
        the same owner has entered is what an earlier try of this call has left: it is begun again.

        A suspended turn, as it was read and with `state` started, is entered again in the same way; None if it has been
        changed since.
        """
        ...

    async def find(self, key: TurnKey) -> TurnRecord | None: ...

    async def change(self, record: TurnRecord) -> TurnRecord:
        """Writes the row if nobody has since `record` was read. Raises `ConcurrentUpdateError`."""
        ...

    async def end(
        self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage], *, result: str = ""
    ) -> None:
        """Closes or suspends the turn and adds `messages` to the conversation, all or nothing.

        No other turn waits for one that is closed or suspended. A suspended turn keeps its payload and checkpoint and
        can be begun again. Raises `ConcurrentUpdateError`.
        """
        ...

    async def start(self, record: TurnRecord, *, since: float = 0.0) -> Predecessor | None:
        """None once the turn is started: none that is entered from now on gets a place before it.

        Else the first of the conversation's earlier open turns whose lease ends after `since`, without those that have
        been passed by, and that nobody has taken over since.
        """
        ...

    async def skip(self, record: TurnRecord, ahead: Predecessor) -> None:
        """Lets `start` leave out that earlier turn, if it is open and its lease is the same still: it becomes 0."""
        ...

    async def delete_before(self, moment: float) -> int:
        """Deletes what was written before `moment`, in seconds since 1970, in all conversations; how many rows.

        Messages, records and turns, those too that were begun and that nobody has renewed since. An engine may keep the
        messages of a turn in one row.
        """
        ...


class Store(ConversationLog, TurnLedger, Records, Protocol):
    """Where state lives: conversations, the ledger and small records in one place, so that they change together."""
