"""Buttons with which a person approves or rejects a tool call: they continue the turn that is suspended for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.messaging.actions import APPROVE_VERB, REJECT_VERB, TURN_ID, WAITING_FOR, ActionAnswer, CardAction
from app.storage.ledger import TurnKey
from app.translation import Sentence, translator_for
from app.turns.runner import TurnRunner

_APPROVED_BY = Sentence("Approved by")
_REJECTED_BY = Sentence("Rejected by")
_EXPIRED = Sentence("This request has expired, and nothing was done. Please ask again.")
_NOT_WAITING = Sentence("Nothing waits for this decision here any more.")


class ApprovalHandler:
    """Handles one of the two verbs. Anybody in the conversation of the turn may press."""

    def __init__(self, runner: TurnRunner, *, approves: bool, clock: Callable[[], float] = time.time) -> None:
        self._runner = runner
        self._approves = approves
        self._clock = clock

    @property
    def verb(self) -> str:
        return APPROVE_VERB if self._approves else REJECT_VERB

    async def accept(self, action: CardAction) -> ActionAnswer:
        translate = translator_for(action.locale)
        suspension = await self._runner.find_suspension(_turn_key(action))
        # The person can have changed what came with the press.
        if suspension is None or suspension.waiting_for != action.data.get(WAITING_FOR):
            return ActionAnswer(translate(_NOT_WAITING), is_accepted=False)
        if suspension.expires_at is not None and self._clock() > suspension.expires_at:
            return ActionAnswer(translate(_EXPIRED), is_accepted=False)
        from app.content.blocks import Fact, Facts  # noqa: PLC0415

        label = translate(_APPROVED_BY if self._approves else _REJECTED_BY)
        return ActionAnswer(blocks=(Facts((Fact(label, action.caller.name or "–"),)),))

    async def run(self, action: CardAction) -> None:
        waiting_for = action.data.get(WAITING_FOR, "")
        await self._runner.resume_suspended(_turn_key(action), waiting_for, approved=self._approves)


def _turn_key(action: CardAction) -> TurnKey:
    """In the conversation of the press: nothing can be approved from another."""
    return TurnKey(action.conversation, action.data.get(TURN_ID, ""))
