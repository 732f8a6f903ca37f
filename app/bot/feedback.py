"""Thumbs up and thumbs down on an answer (invoke `message/submitAction`)."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from botbuilder.core import InvokeResponse
from botbuilder.schema import Activity

from app.bot.inbound.activity import locale_of
from app.bot.inbound.conversation_key import conversation_of
from app.bot.invoke_responses import error_response
from app.storage.storage_errors import StorageError
from app.telemetry.turn_span import feedback_given
from app.translation import Sentence, translator_for
from app.turns.idempotency import ActionInProgressError, IdempotentAction, IdempotentActions, digest

_log = logging.getLogger(__name__)

# Teams wants an invoke answered within 5 seconds.
_TIME_LIMIT_SECONDS = 4.0
_NOT_COUNTED = Sentence("This was not counted; try again.")


async def count_feedback(activity: Activity, actions: IdempotentActions) -> InvokeResponse:
    """Counts one person's opinion of one answer once; they may change their mind."""
    reaction = _reaction(activity.value)
    person = activity.from_property.id if activity.from_property else ""
    conversation = conversation_of(activity)
    # A digest, since what is stored outlives the conversation.
    opinion = digest([conversation.conversation, conversation.thread, activity.reply_to_id, person])
    action = IdempotentAction(conversation.tenant, f"feedback/{opinion}", digest(activity.value), may_change=True)

    async def count() -> dict[str, object]:
        _log.info("Feedback: %s", reaction)
        feedback_given(reaction)
        return {}

    try:
        async with asyncio.timeout(_TIME_LIMIT_SECONDS):
            return InvokeResponse(status=HTTPStatus.OK, body=await actions.once(action, count))
    except (ActionInProgressError, StorageError, TimeoutError) as failure:
        # Teams delivers it again.
        _log.warning("Feedback could not be counted (%s)", type(failure).__name__)
        translate = translator_for(locale_of(activity))
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", translate(_NOT_COUNTED))


def _reaction(value: Any) -> str:  # noqa: ANN401 - any JSON
    """`like`, `dislike` or `unknown`; nothing else of the feedback may be logged."""
    action = value.get("actionValue") if isinstance(value, dict) else None
    reaction = action.get("reaction") if isinstance(action, dict) else None
    return reaction if reaction in ("like", "dislike") else "unknown"
