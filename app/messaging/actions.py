"""What a press on a button of a card does: a handler for each verb.

https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from app.common.caller import Caller
from app.storage.conversations import ConversationKey

if TYPE_CHECKING:
    from app.content.blocks import Action, Block


@dataclass(frozen=True, slots=True)
class CardAction:
    """One decision. `id` is its idempotency key, the same for all presses that decide the same, in whichever chat.

    `caller` pressed first, in `conversation`. `data` came with the press: the person can have changed it, so it grants
    nothing. `payload` is for the channel alone.
    """

    id: str
    verb: str
    conversation: ConversationKey
    caller: Caller
    data: Mapping[str, str] = field(default_factory=dict)
    locale: str = ""
    payload: str = ""


@dataclass(frozen=True, slots=True)
class ActionAnswer:
    """What the person who pressed sees: `blocks` in place of the card, or else `text` beside it.

    The first answer that `is_accepted` is the one that stands: later presses get it too, and nothing is done again.
    """

    text: str = ""
    blocks: tuple[Block, ...] = ()
    is_accepted: bool = True


APPROVE_VERB: Final = "approve_tool_call"
REJECT_VERB: Final = "reject_tool_call"
TURN_ID: Final = "turn_id"
WAITING_FOR: Final = "waiting_for"
"""Fields of an action's data: which turn waits, and its `Suspended.waiting_for`."""

ASK_VERB: Final = "ask"
ASK_QUESTION: Final = "question"
"""The verb of a button that asks the agent a question, and the field of its data."""


def ask_button(title: str, question: str) -> Action:
    """`question` is what the person would have typed."""
    from app.content.blocks import Action  # noqa: PLC0415

    return Action(ASK_VERB, title, {ASK_QUESTION: question})


CALL_VERB: Final = "call_tool"
CALLED_TOOL: Final = "tool"
"""The verb of a button that calls a tool, and the field of its data that names it; the other fields are arguments."""


def call_button(title: str, tool: str, arguments: Mapping[str, str]) -> Action:
    """`arguments` are short, like all that a button carries: identifiers and numbers."""
    from app.content.blocks import Action  # noqa: PLC0415

    return Action(CALL_VERB, title, {CALLED_TOOL: tool, **arguments})


class ActionHandler(Protocol):
    """Has one verb. Both methods may be called again for one action: their effects must bear that."""

    @property
    def verb(self) -> str: ...

    async def accept(self, action: CardAction) -> ActionAnswer:
        """Decides, within 4 s, whether the action may be done; looks things up but changes nothing."""
        ...

    async def run(self, action: CardAction) -> None:
        """Does what was accepted. Called from the queue; the message is delivered again if it raises."""
        ...
