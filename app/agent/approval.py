"""How a person is asked whether a tool may do what the model wants it to do."""

from __future__ import annotations

from app.agent.answer_builder import AnswerBuilder
from app.agent.events import Suspended
from app.agent.tool_steps import PendingApproval
from app.content.block_limits import within_limits
from app.content.blocks import Action, Actions, ActionStyle, Fact, Facts
from app.translation import Sentence, Translator

APPROVE_VERB = "approve_tool_call"
REJECT_VERB = "reject_tool_call"
TURN_ID = "turn_id"
WAITING_FOR = "waiting_for"
"""Fields of an action's data: which turn waits, and its `Suspended.waiting_for`."""

_QUESTION = Sentence("I need your approval before I do this:")
_APPROVE = Sentence("Approve")
_REJECT = Sentence("Reject")


def ask_for_approval(turn_id: str, pending: PendingApproval, answer: AnswerBuilder, translate: Translator) -> Suspended:
    facts = [Fact(name, str(value)) for name, value in pending.arguments.model_dump(mode="json").items()]
    data = {TURN_ID: turn_id, WAITING_FOR: pending.id}
    actions = Actions(
        (
            Action(APPROVE_VERB, translate(_APPROVE), data, ActionStyle.POSITIVE),
            Action(REJECT_VERB, translate(_REJECT), data, ActionStyle.DESTRUCTIVE),
        ),
        id=pending.id,
    )
    blocks = (*answer.blocks, within_limits(Facts(tuple(facts), pending.tool)), actions)
    return Suspended(pending.id, translate(_QUESTION), answer.text, answer.by_model, blocks)
