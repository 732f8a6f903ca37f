"""The adapter's cures. Where it is short, the plain SDK's fault stands beside the cure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from botbuilder.core import ActivityHandler, InvokeResponse, TurnContext
from botbuilder.schema import Activity, ActivityTypes, Attachment, ConversationParameters
from botbuilder.schema.teams import TaskModuleContinueResponse, TaskModuleResponse, TaskModuleTaskInfo

from app.bot.auth.bot_identity import BotIdentity
from app.bot.connector.send_errors import SendRefusedError, ThrottledError
from app.bot.inbound.activity import parse_activity
from app.bot.inbound.reply_target import reply_fields
from app.bot.sdk.sdk_clients import SdkUserTokens
from app.bot.sdk.sdk_entities import entity
from tests.fakes.adapter_bot import APP, STREAM_INFO, TENANT, Bot, a_bot, the_plain_sdk
from tests.fakes.connector_service import Reply


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with a_bot() as made:
        yield made


# --- Sends of the SDK


async def test_what_the_sdk_sends_keeps_its_entities(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        await context.send_activity(Activity(type="typing", text="H", entities=[entity(STREAM_INFO)]))

    await bot.turn(logic)

    assert bot.service.bodies[0]["entities"] == [STREAM_INFO]


async def test_the_sdk_replies_edits_and_deletes_through_our_connector(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        sent = await context.send_activity("Hi")
        assert sent is not None
        assert sent.id == "a-1"
        await context.update_activity(Activity(type="message", id=sent.id, text="Hello"))
        await context.delete_activity(sent.id)

    assert await bot.turn(logic) is None

    at = "/teams/v3/conversations/a%3A1y/activities/"
    assert [(call.method, call.path) for call in bot.service.calls] == [
        ("POST", f"{at}in-1"),
        ("PUT", f"{at}a-1"),
        ("DELETE", f"{at}a-1"),
    ]
    sent = bot.service.bodies[0]
    assert (sent["text"], sent["replyToId"], sent["from"]["id"], sent["recipient"]["id"]) == (
        "Hi",
        "in-1",
        "28:bot",
        "29:1x",
    )
    assert bot.service.calls[0].token == "bot-token"


async def test_a_conversation_update_is_answered_in_the_conversation(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        await context.send_activity("Welcome")
        await bot.adapter.sender(context).post({"type": "message", "text": "Welcome"})

    await bot.turn(logic, type="conversationUpdate")

    assert [call.path for call in bot.service.calls] == ["/teams/v3/conversations/a%3A1y/activities"] * 2


async def test_a_refused_send_reaches_the_bot_with_its_type(bot: Bot) -> None:
    bot.service.replies.append(Reply.error(403, "BotDisabledByAdmin", "no"))
    with pytest.raises(SendRefusedError):
        await bot.turn(lambda context: context.send_activity("Hi"))  # type: ignore[arg-type,return-value]


async def test_a_conversation_can_be_opened_and_continued(bot: Bot) -> None:
    bot.service.replies.append(Reply(201, {"id": "a:new", "activityId": "a-0"}))
    seen: list[str] = []

    async def logic(context: TurnContext) -> None:
        seen.append(context.activity.conversation.id)
        await bot.adapter.sender(context).post({"type": "message", "text": "News"})
        await context.send_activity("More")

    sdk: Any = bot.adapter
    parameters = ConversationParameters(is_group=False, tenant_id=TENANT)
    await sdk.create_conversation(APP, logic, parameters, "msteams", bot.service.service_url)
    await sdk.continue_conversation(TurnContext.get_conversation_reference(bot.activity()), logic, APP)

    assert seen == ["a:new", "a:1y"]
    assert bot.service.calls[1].path == "/teams/v3/conversations/a%3Anew/activities"
    assert bot.service.calls[3].path == "/teams/v3/conversations/a%3A1y/activities"


# --- Senders, past the SDK


async def test_a_sender_addresses_what_it_sends_as_the_sdk_does(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        sender = bot.adapter.sender(context)
        assert await sender.post({"type": "message", "text": "Hi", "inputHint": "acceptingInput"}) == "a-1"
        await context.send_activity("Hi")
        await sender.update("a-1", {"type": "message", "text": "Hello"})

    await bot.turn(logic)

    ours, theirs, edit = bot.service.calls
    assert (ours.method, ours.path, ours.body) == (theirs.method, theirs.path, theirs.body)
    assert (edit.method, edit.path.rpartition("/")[2], edit.body["id"]) == ("PUT", "a-1", "a-1")


async def test_a_targeted_message_is_answered_to_its_sender_only(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        sender = bot.adapter.sender(context)
        await sender.post({"type": "message", "text": "Hi", "entities": [{"type": "x"}]})
        await sender.post({"type": "typing"}, retry=False)
        await sender.update("a-1", {"type": "message", "text": "Hello"})

    await bot.turn(logic, recipient={"id": "28:bot", "name": "Databricks", "isTargeted": True})

    message, typing, edit = bot.service.calls
    everything = "/teams/v3/conversations/a%3A1y/activities"
    assert message.path == typing.path == f"{everything}?isTargetedActivity=true"
    assert message.body["recipient"] == {"id": "29:1x", "name": "Adele", "isTargeted": True}
    assert message.body["from"] == {"id": "28:bot", "name": "Databricks"}
    assert message.body["entities"] == [{"type": "x"}, {"type": "targetedMessageInfo", "messageId": "in-1"}]
    assert "replyToId" not in message.body
    # Teams refuses an edit that names a recipient: https://github.com/microsoft/teams.ts/issues/738
    assert (edit.method, edit.path) == ("PUT", f"{everything}/a-1?isTargetedActivity=true")
    assert "recipient" not in edit.body


async def test_a_send_without_retry_is_sent_once(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        bot.service.replies.append(Reply.error(429, Retry_After="0"))
        with pytest.raises(ThrottledError):
            await bot.adapter.sender(context).post({"type": "typing"}, retry=False)

    await bot.turn(logic)

    assert len(bot.service.calls) == 1


@pytest.mark.parametrize("channel", ["directline", "webchat"])
def test_web_chat_gets_no_replies_to_an_activity(bot: Bot, channel: str) -> None:
    assert "replyToId" not in reply_fields(bot.activity(channelId=channel))


def test_an_activity_without_fields_has_no_reply_fields() -> None:
    assert reply_fields(parse_activity(b'{"type":"message"}')) == {}


# --- 500 on the answers to invokes and on expected replies


async def answer_with_a_dict(context: TurnContext) -> None:
    answer = InvokeResponse(status=200, body={"statusCode": 200, "value": {"a": 1}})
    await context.send_activity(Activity(type=ActivityTypes.invoke_response, value=answer))


async def test_an_invoke_may_be_answered_with_a_dict(bot: Bot) -> None:
    async with the_plain_sdk(answer_with_a_dict) as post:
        assert await post(bot.activity()) == 201
        assert await post(bot.activity(type="invoke", name="adaptiveCard/action")) == 500

    answer = await bot.turn(answer_with_a_dict, type="invoke", name="adaptiveCard/action")

    assert (answer.status, json.dumps(answer.body)) == (200, '{"statusCode": 200, "value": {"a": 1}}')
    assert bot.service.calls == []


async def test_an_invoke_may_be_answered_with_models_of_the_sdk(bot: Bot) -> None:
    info = TaskModuleTaskInfo(title="t", card=Attachment(content={"type": "AdaptiveCard"}))

    async def logic(context: TurnContext) -> None:
        answer = InvokeResponse(status=200, body=TaskModuleResponse(task=TaskModuleContinueResponse(value=info)))
        await context.send_activity(Activity(type=ActivityTypes.invoke_response, value=answer))

    answer = await bot.turn(logic, type="invoke")

    value = {"title": "t", "card": {"content": {"type": "AdaptiveCard"}}}
    assert answer.body == {"task": {"type": "continue", "value": value}}


async def test_an_invoke_that_nobody_answers_is_not_implemented(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        return None

    answer = await bot.turn(logic, type="invoke", name="unheard/of")

    assert (answer.status, answer.body) == (501, None)


async def test_the_answers_of_the_sdks_own_handler_get_through(bot: Bot) -> None:
    class Handler(ActivityHandler):
        async def on_invoke_activity(self, turn_context: TurnContext) -> InvokeResponse:
            return InvokeResponse(status=200, body={})

    answer = await bot.turn(Handler().on_turn, type="invoke", name="message/submitAction")

    assert (answer.status, answer.body) == (200, {})


async def reply_twice(context: TurnContext) -> None:
    await context.send_activity(Activity(type="message", text="One", entities=[entity(STREAM_INFO)]))
    await context.send_activity("Two")


async def test_expected_replies_come_in_the_answer_whole_and_in_order(bot: Bot) -> None:
    async with the_plain_sdk(reply_twice) as post:
        assert await post(bot.activity(deliveryMode="expectReplies")) == 500

    async def logic(context: TurnContext) -> None:
        await reply_twice(context)
        await bot.adapter.sender(context).post({"type": "message", "text": "Three"})

    answer = await bot.turn(logic, deliveryMode="expectReplies")

    replies = json.loads(json.dumps(answer.body))["activities"]
    assert (answer.status, [reply["text"] for reply in replies]) == (200, ["One", "Two", "Three"])
    assert replies[0]["entities"] == [STREAM_INFO]
    assert replies[2]["conversation"]["id"] == "a:1y"
    assert bot.service.calls == []


# --- New clients and a new token for every turn


async def test_a_turn_makes_no_new_client_and_asks_for_no_token(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def remember(client: object, *_: object, **__: object) -> None:
        made.append(client)
        raise RuntimeError("no clients here")

    for path in ("botframework.connector.aio.ConnectorClient", "botframework.connector.token_api.aio.TokenApiClient"):
        monkeypatch.setattr(f"{path}.__init__", remember)

    async def logic(context: TurnContext) -> None:
        assert context.turn_state["UserTokenClient"] is not None

    async with the_plain_sdk(logic) as post:
        assert await post(bot.activity()) == 500
    assert len(made) == 1

    for _ in range(3):
        await bot.turn(logic)
    assert (len(made), bot.tokens.asked) == (1, 0)


async def test_users_tokens_are_requested_with_the_bots_token(bot: Bot) -> None:
    user_tokens = SdkUserTokens(BotIdentity(APP), bot.tokens, address=bot.service.service_url.removesuffix("/teams/"))
    bot.service.replies.append(Reply(200, {"connectionName": "entra", "token": "a person's"}))

    assert bot.tokens.asked == 0
    answer = await user_tokens.get_user_token("29:1x", "entra", "msteams", "")

    assert answer.token == "a person's"
    assert bot.service.calls[0].path.startswith("/api/usertoken/GetToken?userId=29%3A1x")
    assert bot.service.calls[0].token == "bot-token"


async def test_what_a_handler_raises_reaches_its_caller(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await bot.turn(logic)
