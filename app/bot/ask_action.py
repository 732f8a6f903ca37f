"""The verb `ask`: a button that asks the agent a question."""

from __future__ import annotations

import logging

from app.bot.connector.send_errors import SendError
from app.bot.inbound.inbound_question import parse_inbound_question
from app.bot.open_reply import open_reply
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.messaging.actions import ASK_QUESTION, ASK_VERB, ActionAnswer, CardAction
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import current_turn, turn_failed
from app.translation import Sentence, translator_for
from app.turns.reply import UndeliveredError
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

_ASKED = Sentence("I am looking into it.")
_NO_QUESTION = Sentence("This button asks nothing.")


class AskAction:
    """An `app.messaging.actions.ActionHandler`. The answer is a turn, entered once under the id of the action."""

    def __init__(self, adapter: ChannelAdapter, runner: TurnRunner, image_hosts: frozenset[str] = frozenset()) -> None:
        self._adapter = adapter
        self._runner = runner
        self._image_hosts = image_hosts

    @property
    def verb(self) -> str:
        return ASK_VERB

    async def accept(self, action: CardAction) -> ActionAnswer:
        translate = translator_for(action.locale)
        if not action.data.get(ASK_QUESTION, "").strip():
            return ActionAnswer(translate(_NO_QUESTION), is_accepted=False)
        return ActionAnswer(translate(_ASKED))

    async def run(self, action: CardAction) -> None:
        pressed = parse_inbound_question(action.payload)
        question = pressed.model_copy(update={"question": action.data[ASK_QUESTION].strip()})
        sender, trace = self._adapter.sender_to(question.reply_target), current_turn()
        try:
            await self._runner.run(
                question.turn(f"card/{action.id}", action.conversation),
                lambda checkpoint: open_reply(sender, question, action.conversation, checkpoint, self._image_hosts),
                payload=question.model_dump_json(),
                traceparent=trace.traceparent if trace is not None else None,
                time_limit_seconds=question.channel.time_limit_seconds,
            )
        except (SendError, UndeliveredError) as failure:
            turn_failed(failure)
            _log.exception("An answer could not be delivered, error id %s", new_error_id())
