"""How a person is asked whether a tool may do what the model wants it to do."""

from __future__ import annotations

import json
from typing import Any

from app.agent.answer_builder import AnswerBuilder
from app.agent.events import Suspended
from app.agent.tool_steps import APPROVAL_SECONDS, PendingApproval
from app.content.block_limits import within_limits
from app.content.blocks import Action, Actions, ActionStyle, Block, Code, Fact, Facts
from app.messaging.actions import APPROVE_VERB, REJECT_VERB, TURN_ID, WAITING_FOR
from app.translation import Sentence, Translator

_QUESTION = Sentence("I need your approval before I do this:")
_APPROVE = Sentence("Approve")
_REJECT = Sentence("Reject")
_ASKED_BY = Sentence("Asked by")
_VALID = Sentence("Valid")
_FOR_HOURS = Sentence("for {hours} hours, once")
# A longer value would be cut where facts are drawn.
_MAX_FACTS = 20
_MAX_FACT_CHARACTERS = 200


def ask_for_approval(turn_id: str, pending: PendingApproval, answer: AnswerBuilder, translate: Translator) -> Suspended:
    data = {TURN_ID: turn_id, WAITING_FOR: pending.id}
    actions = Actions(
        (
            Action(APPROVE_VERB, translate(_APPROVE), data, ActionStyle.POSITIVE),
            Action(REJECT_VERB, translate(_REJECT), data, ActionStyle.DESTRUCTIVE),
        ),
        id=pending.id,
    )
    card = (*_details(pending, translate), actions)
    blocks = (*answer.blocks, *(within_limits(block) for block in card))
    return Suspended(
        pending.id,
        translate(_QUESTION),
        answer.text,
        answer.by_model,
        blocks,
        pending.request.expires_at,
        pending.title,
        pending.arguments.model_dump_json(),
    )


def _details(pending: PendingApproval, translate: Translator) -> list[Block]:
    """What exactly would be done, no value of it cut, and for whom."""
    arguments: dict[str, Any] = pending.arguments.model_dump(mode="json")
    terms = [
        Fact(translate(_ASKED_BY), _visible(pending.request.asked_by.name) or "–"),
        Fact(translate(_VALID), translate(_FOR_HOURS, hours=APPROVAL_SECONDS // 3600)),
    ]
    facts = [Fact(_visible(name), _visible(_text(value))) for name, value in arguments.items()]
    if len(facts) <= _MAX_FACTS and all(len(fact.label + fact.value) <= _MAX_FACT_CHARACTERS for fact in facts):
        return [Facts((*facts, *terms), pending.title)]
    exactly = _visible(json.dumps(arguments, ensure_ascii=False, indent=1))
    return [Facts(tuple(terms), pending.title), Code(exactly, "json")]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _visible(text: str) -> str:
    """Characters that nobody sees, or that turn the order of others around, as escapes."""
    shown = (c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)
