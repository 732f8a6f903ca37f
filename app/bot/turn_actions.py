"""Buttons whose press enters a turn: the verb `ask` asks the agent, `call_tool` calls one of its tools."""

from __future__ import annotations

import json
import logging

from app.bot.channel import DEFAULT_DISPLAY, DisplaySettings
from app.bot.connector.send_errors import SendError
from app.bot.inbound.inbound_question import InboundQuestion, parse_inbound_question
from app.bot.open_reply import open_reply
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.messaging.actions import ASK_QUESTION, ASK_VERB, CALL_VERB, CALLED_TOOL, ActionAnswer, CardAction
from app.models.model import ToolCall
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import current_turn, turn_failed
from app.translation import Sentence, translator_for
from app.turns.reply import UndeliveredError
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

_ACCEPTED = Sentence("I am looking into it.")
_NO_QUESTION = Sentence("This button asks nothing.")
_CALL_ID = "button"


class _TurnAction:
    """The answer is a turn, entered once under the id of the action. `field` of the action's data may not be empty."""

    def __init__(self, adapter: ChannelAdapter, runner: TurnRunner, display: DisplaySettings, field: str) -> None:
        self._adapter = adapter
        self._runner = runner
        self._display = display
        self._field = field

    async def accept(self, action: CardAction) -> ActionAnswer:
        translate = translator_for(action.locale)
        if not action.data.get(self._field, "").strip():
            return ActionAnswer(translate(_NO_QUESTION), is_accepted=False)
        return ActionAnswer(translate(_ACCEPTED))

    async def _enter(self, action: CardAction, question: InboundQuestion) -> None:
        sender, trace = self._adapter.sender_to(question.reply_target), current_turn()
        try:
            await self._runner.run(
                question.turn(f"card/{action.id}", action.conversation),
                lambda checkpoint: open_reply(sender, question, action.conversation, checkpoint, self._display),
                payload=question.model_dump_json(),
                traceparent=trace.traceparent if trace is not None else None,
                time_limit_seconds=question.channel.time_limit_seconds,
            )
        except (SendError, UndeliveredError) as failure:
            turn_failed(failure)
            _log.exception("An answer could not be delivered, error id %s", new_error_id())


class AskAction(_TurnAction):
    """An `app.messaging.actions.ActionHandler`."""

    def __init__(self, adapter: ChannelAdapter, runner: TurnRunner, display: DisplaySettings = DEFAULT_DISPLAY) -> None:
        super().__init__(adapter, runner, display, ASK_QUESTION)

    @property
    def verb(self) -> str:
        return ASK_VERB

    async def run(self, action: CardAction) -> None:
        pressed = parse_inbound_question(action.payload)
        question = pressed.model_copy(update={"question": action.data[ASK_QUESTION].strip()})
        await self._enter(action, question)


class CallAction(_TurnAction):
    """An `app.messaging.actions.ActionHandler`. The person can have changed what came with the press: only tools for
    buttons are called, they check their arguments, and one that changes something asks for approval.
    """

    def __init__(self, adapter: ChannelAdapter, runner: TurnRunner, display: DisplaySettings = DEFAULT_DISPLAY) -> None:
        super().__init__(adapter, runner, display, CALLED_TOOL)

    @property
    def verb(self) -> str:
        return CALL_VERB

    async def run(self, action: CardAction) -> None:
        arguments = {name: value for name, value in action.data.items() if name != CALLED_TOOL}
        call = ToolCall(_CALL_ID, action.data[CALLED_TOOL], json.dumps(arguments))
        pressed = parse_inbound_question(action.payload)
        await self._enter(action, pressed.model_copy(update={"question": "", "call": call}))
