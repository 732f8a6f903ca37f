"""Presses on buttons: decided once for all chats and answered at once, done from the queue. Through the endpoint."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.agent.commands import HELP
from app.bot.handler import MENTION_ME
from app.common.caller import Caller
from app.content.blocks import Fact, Facts
from app.messaging.actions import ActionAnswer, CardAction
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from app.turns.queue_message import UnreadableMessageError
from tests.fakes.bots import Bot, MakeBot

MESSAGE = "application/vnd.microsoft.activity.message"
CARD = "application/vnd.microsoft.card.adaptive"
ERROR = "application/vnd.microsoft.error"


class Repair:
    """Repairs a run; `bob` may not."""

    verb = "repair"

    def __init__(self, *, failures: int = 0, gate: asyncio.Event | None = None, as_card: bool = False) -> None:
        self.accepted: list[CardAction] = []
        self.done: list[CardAction] = []
        self._failures = failures
        self._gate = gate
        self._as_card = as_card

    async def accept(self, action: CardAction) -> ActionAnswer:
        if self._gate is not None:
            await self._gate.wait()
        if action.caller.user_id == "29:bob":
            return ActionAnswer("You may not.", is_accepted=False)
        self.accepted.append(action)
        if self._as_card:
            return ActionAnswer(blocks=(Facts((Fact("Run", action.data["run"]),)),))
        return ActionAnswer(f"{action.caller.name} repairs {action.data['run']}.")

    async def run(self, action: CardAction) -> None:
        if self._failures:
            self._failures -= 1
            raise ConnectionError("the workspace is away")
        self.done.append(action)


def press(bot: Bot, data: dict[str, Any], verb: str = "repair", more: dict[str, Any] | None = None) -> dict[str, Any]:
    value = {"action": {"type": "Action.Execute", "verb": verb, "data": data}, "trigger": "manual"}
    activity = bot.activity("", name="adaptiveCard/action", value=value, replyToId="card-1", **(more or {}))
    return {**activity, "type": "invoke", "channelId": "msteams"}


async def shown(bot: Bot, activity: dict[str, Any]) -> tuple[str, Any]:
    answer = await bot.send(activity)
    body = json.loads(answer.body)
    assert (answer.status, body["statusCode"]) == (200, 400 if body["type"] == ERROR else 200)
    return body["type"], body["value"]


PROPOSAL = {"action_id": "proposal-7", "run": 7, "safe": True, "nested": {"not": "taken"}}


async def test_two_chats_that_hold_one_proposal_decide_it_once(make_bot: MakeBot) -> None:
    repair = Repair()
    bot, other = make_bot(action_handlers=[repair]), make_bot(action_handlers=[repair])
    first = await shown(bot, press(bot, PROPOSAL))
    carl = {"id": "29:carl", "name": "Carl"}
    second = await shown(other, press(other, PROPOSAL, more={"conversation": {"id": "c2"}, "from": carl}))

    assert first == second == (MESSAGE, "Ann repairs 7.")
    assert await bot.handle_queue() == 1
    (done,) = repair.done
    assert (done.id, done.verb, done.caller.name, done.conversation.conversation) == (
        "proposal-7",
        "repair",
        "Ann",
        "msteams/c1",
    )
    assert done.data == {"run": "7", "safe": "true"}


async def test_another_proposal_and_a_press_without_an_id_are_decisions_of_their_own(make_bot: MakeBot) -> None:
    repair = Repair()
    bot = make_bot(action_handlers=[repair])
    for data in (PROPOSAL, {**PROPOSAL, "action_id": "proposal-8"}, {"run": 1}, {"run": 1}):
        await shown(bot, press(bot, data))
    repeated = press(bot, {"run": 2})
    for _ in range(2):
        await shown(bot, repeated)

    assert await bot.handle_queue() == 5
    assert sorted(action.data["run"] for action in repair.done) == ["1", "1", "2", "7", "7"]


async def test_who_may_not_decide_is_told_so_and_another_still_can(make_bot: MakeBot) -> None:
    repair = Repair()
    bot = make_bot(action_handlers=[repair])
    bob = press(bot, PROPOSAL, more={"from": {"id": "29:bob", "name": "Bob"}})
    assert await shown(bot, bob) == (MESSAGE, "You may not.")
    assert await bot.handle_queue() == 0
    assert await shown(bot, press(bot, PROPOSAL)) == (MESSAGE, "Ann repairs 7.")
    assert await bot.handle_queue() == 1


async def test_a_press_may_be_answered_with_a_card(make_bot: MakeBot) -> None:
    bot = make_bot(action_handlers=[Repair(as_card=True)])
    for _ in range(2):
        kind, card = await shown(bot, press(bot, PROPOSAL))
        assert (kind, card["type"]) == (CARD, "AdaptiveCard")
        assert "7" in json.dumps(card["body"])


async def test_what_fails_on_the_queue_is_delivered_again(make_bot: MakeBot) -> None:
    repair = Repair(failures=1)
    bot = make_bot(action_handlers=[repair])
    await shown(bot, press(bot, PROPOSAL))
    (message,) = await bot.queue.receive(9, visibility_timeout=60)
    with pytest.raises(ConnectionError):
        await bot.app.queue.dispatch(message.body.encode())
    await bot.app.queue.dispatch(message.body.encode())
    assert len(repair.done) == 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        {},
        {"action": {}},
        {"action": {"verb": 5}},
        {"action": {"verb": "unknown"}},
        {"action": {"verb": "repair", "data": []}},
        {"action": {"verb": "repair", "data": {"run": "x" * 5000}}},
        {"action": {"verb": "repair", "data": {str(number): 1 for number in range(100)}}},
    ],
)
async def test_a_press_that_no_button_of_ours_brings_is_told_that_it_is_not_in_use(
    make_bot: MakeBot, value: Any
) -> None:
    bot = make_bot(action_handlers=[Repair()])
    kind, error = await shown(bot, {**press(bot, {}), "value": value})
    assert (kind, error["message"]) == (ERROR, "This button is no longer in use.")
    assert await bot.handle_queue() == 0


async def test_a_handler_that_takes_too_long_is_answered_for_within_five_seconds(make_bot: MakeBot) -> None:
    gate = asyncio.Event()
    bot, loop = make_bot(action_handlers=[Repair(gate=gate)]), asyncio.get_running_loop()
    began = loop.time()
    kind, error = await shown(bot, press(bot, PROPOSAL))
    assert (kind, error["message"]) == (ERROR, "This was not done. Please try again.")
    assert loop.time() - began < 5
    gate.set()
    assert await shown(bot, press(bot, PROPOSAL)) == (MESSAGE, "Ann repairs 7.")
    assert await bot.handle_queue() == 1


async def test_a_press_that_storage_does_not_take_changes_nothing(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    repair = Repair()
    bot = make_bot(action_handlers=[repair])

    async def fails(*_: Any, **__: Any) -> Any:
        raise StorageError("down")

    with monkeypatch.context() as down:
        down.setattr(bot.backend.queue, "put", fails)
        kind, _ = await shown(bot, press(bot, PROPOSAL))
        assert kind == ERROR
    assert await shown(bot, press(bot, PROPOSAL)) == (MESSAGE, "Ann repairs 7.")
    assert await bot.handle_queue() == 1


async def test_an_action_of_a_verb_that_this_version_does_not_know_waits_for_one_that_does(make_bot: MakeBot) -> None:
    newer, older = make_bot(action_handlers=[Repair()]), make_bot()
    await shown(newer, press(newer, PROPOSAL))
    (message,) = newer.on_the_queue()
    with pytest.raises(UnreadableMessageError):
        await older.app.queue.dispatch(message)


async def test_a_queue_message_of_the_first_version_can_be_read(make_bot: MakeBot) -> None:
    """Messages are on the queue while a version replaces another: change this text only by adding to it."""
    repair = Repair()
    bot = make_bot(action_handlers=[repair])
    await bot.app.queue.dispatch(
        b'{"v":1,"kind":"card_action","traceparent":null,"id":"proposal-7","verb":"repair","tenant":"t",'
        b'"conversation":"msteams/c1","thread":"77","caller":{"tenant_id":"t","user_id":"29:ann",'
        b'"entra_object_id":"a1","name":"Ann"},"data":{"run":"7"},"locale":"de-DE","payload":"{}"}'
    )
    key, ann = ConversationKey("t", "msteams/c1", "77"), Caller("t", "29:ann", "a1", "Ann")
    assert repair.done == [CardAction("proposal-7", "repair", key, ann, {"run": "7"}, "de-DE", "{}")]


def test_two_handlers_of_one_verb_are_refused(make_bot: MakeBot) -> None:
    with pytest.raises(ValueError, match="'repair'"):
        make_bot(action_handlers=[Repair(), Repair()])


# --- The verb `ask`, behind the button of the welcome


async def test_the_button_of_the_welcome_asks_for_help_and_is_answered_once_in_its_conversation(
    make_bot: MakeBot,
) -> None:
    bot, other = make_bot(), make_bot()
    group: dict[str, Any] = {"channelId": "msteams", "conversation": {"id": "g", "conversationType": "groupChat"}}
    await bot.send(bot.activity(type="conversationUpdate", membersAdded=[{"id": "28:bot"}], **group))
    welcome = bot.connector.calls[-1].activity
    assert MENTION_ME.english in welcome["text"]
    (button,) = welcome["attachments"][0]["content"]["actions"]
    assert (button["type"], button["title"]) == ("Action.Execute", "Help")

    pressed = {**press(bot, button["data"], verb=button["verb"]), **group}
    assert (await shown(bot, pressed))[0] == MESSAGE
    (message,) = bot.on_the_queue()
    for worker in (bot, other):
        await worker.app.queue.dispatch(message)
    answers = [call for call in bot.connector.calls if call.is_message][1:]
    assert [answer.text for answer in answers] == [HELP.english]
    assert answers[0].activity["conversation"]["id"] == "g"
    assert "replyToId" not in answers[0].activity


async def test_a_question_of_a_button_is_remembered_as_if_it_had_been_typed(make_bot: MakeBot) -> None:
    bot = make_bot("Because.", "On Sunday.")
    assert (await shown(bot, press(bot, {"question": "Why?"}, verb="ask")))[0] == MESSAGE
    await bot.handle_queue()
    assert bot.messages == ["Because."]
    await bot.send(bot.activity("And when?", channelId="msteams"))
    assert [message.content for message in bot.model.requests[1].messages[1:]] == ["Why?", "Because.", "And when?"]


async def test_a_button_without_a_question_asks_nothing(make_bot: MakeBot) -> None:
    bot = make_bot("never")
    assert await shown(bot, press(bot, {"question": " "}, verb="ask")) == (MESSAGE, "This button asks nothing.")
    assert await bot.handle_queue() == 0
