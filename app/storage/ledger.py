"""The ledger of turns: each is entered once, worked on by one worker at a time, and closed with what was said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeGuard

from app.storage.conversations import ConversationHistory, ConversationKey, StoredMessage

# Entering a turn takes longer only where storage did not answer for a while.
MAX_ENTRY_SECONDS = 0.5
# Of payload, checkpoint and result together.
MAX_TURN_CHARACTERS = 80_000


class TurnState(StrEnum):
    STARTED = "started"
    ANSWERED = "answered"
    FAILED = "failed"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class TurnKey:
    """`activity_id` is the id that the channel gave to the question; a repeat of the question has the same one."""

    conversation: ConversationKey
    activity_id: str


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A row of the ledger as it was read. `version` changes with every write.

    The turns of a conversation are answered in the order of their `ticket`: the time of the question in milliseconds
    since 1970, or the next free number. `owner` identifies one attempt to answer. `lease_until` is in seconds since
    1970; afterwards another worker may claim the turn.

    `payload` is what a worker needs to answer, `checkpoint` says how far the answer has come, `result` is what is kept
    of a closed turn. Storage does not interpret them; together they have at most `MAX_TURN_CHARACTERS`. A turn that was
    answered or has failed keeps neither payload nor checkpoint.
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
    """`history` is the last messages, oldest first.

    With `has_predecessor` the turn is entered but not started: an earlier turn of the conversation is open, or it is
    `delayed`, because a question that was asked before this one may be entered any moment.
    """

    record: TurnRecord
    history: tuple[StoredMessage, ...]
    has_predecessor: bool
    delayed: bool = False


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An open turn that another one has to wait for. `lease_until` is in seconds since 1970."""

    ticket: int
    lease_until: float


def entered_by(found: TurnRecord | None, owner: str) -> TypeGuard[TurnRecord]:
    """Whether an earlier try of the same call has entered the turn."""
    return found is not None and (found.owner, found.state) == (owner, TurnState.STARTED)


def next_ticket(wanted: int, *, started: int, taken: Collection[int]) -> int:
    """The first free ticket from `wanted` on, after the last one that was `started`."""
    ticket = max(wanted, started + 1)
    while ticket in taken:
        ticket += 1
    return ticket


class TurnLedger(Protocol):
    async def begin(self, turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        """Enters `turn`; None if its key has been entered before.

        The turn gets the first free ticket from its own on, and one after all turns that have been started. Unless it
        `waits`, it is started at once if no earlier turn is open and entering it took at most `MAX_ENTRY_SECONDS`. An
        open turn of the same owner was left by an earlier try of this call, and is returned.

        A suspended turn is entered again in the same way if it is given as it was read, with a new owner and the state
        `started`; None if it has been changed since. `history_limit` is a number of messages.
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
        """Starts the turn and returns None: no turn that is entered later gets a ticket before it.

        While an earlier turn of the conversation is open it is not started, and the first of those is returned. Turns
        whose lease ended at `since` or before do not count, nor do skipped ones until they are claimed again.
        """
        ...

    async def skip(self, record: TurnRecord, predecessor: Predecessor) -> None:
        """Ends the lease of an earlier turn (`lease_until` becomes 0), unless it has been renewed or closed since."""
        ...

    async def delete_before(self, moment: float) -> int:
        """Deletes messages, artifacts and turns last written before `moment`, in seconds since 1970.

        Of all conversations; open turns too, if they have not been renewed. Returns how many rows there were, of which
        some engines need more for the same messages.
        """
        ...


class ConversationStore(ConversationHistory, TurnLedger, Protocol):
    """Conversations and the ledger in one place, so that they change together."""
