"""The adapter's cures. Where it is short, the plain SDK's fault stands beside the cure."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from botbuilder.core import ActivityHandler, InvokeResponse, TurnContext
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication
from botbuilder.schema import Activity, ActivityTypes, Attachment, ConversationParameters, Entity, Mention
from botbuilder.schema.teams import TaskModuleContinueResponse, TaskModuleResponse, TaskModuleTaskInfo
from botframework.connector.auth import (
    AuthenticationConfiguration,
    BotFrameworkAuthenticationFactory,
    PasswordServiceClientCredentialFactory,
)

from app.bot.activity import parse_activity
from app.bot.adapter import Adapter, addressing
from app.bot.authentication import Authenticator, Unauthenticated
from app.bot.connector import Connector
from app.bot.entities import entity, plain, serialise
from app.bot.http_session import HttpSession
from app.bot.identity import BotIdentity
from app.bot.sdk_clients import UserTokens
from app.bot.send_failures import SendRefused, Throttled
from app.bot.service_url import ServiceUrls
from tests.fakes.bot_framework_login import BotFrameworkLogin
from tests.fakes.connector_service import ConnectorService, Reply

APP = "c9e8c047-2a34-40a1-b28a-b162d5f5327c"
TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
SERVICE_URL = "https://smba.trafficmanager.net/emea/"
LOCAL = {"host": "localhost:7071"}
STREAM_INFO = {"type": "streaminfo", "streamType": "streaming", "streamSequence": 2, "streamId": "a-0000l"}


class Tokens:
    def __init__(self) -> None:
        self.asked = 0

    async def token(self) -> str | None:
        self.asked += 1
        return "bot-token"

    def forget(self, token: str) -> None:
        return None


Logic = Callable[[TurnContext], Awaitable[None]]


@dataclass
class Bot:
    adapter: Adapter
    service: ConnectorService
    tokens: Tokens

    def activity(self, **fields: Any) -> Activity:
        content = {
            "type": "message",
            "id": "in-1",
            "channelId": "msteams",
            "serviceUrl": self.service.service_url,
            "from": {"id": "29:1x", "name": "Adele"},
            "recipient": {"id": "28:bot", "name": "Databricks"},
            "conversation": {"id": "a:1y", "conversationType": "personal", "tenantId": TENANT},
            "locale": "en-US",
            "text": "Hello",
        }
        return parse_activity(json.dumps(content | fields).encode())

    async def turn(self, logic: Logic, **fields: Any) -> Any:
        activity = self.activity(**fields)
        authenticated = await self.adapter.authenticate(activity, LOCAL, "127.0.0.1")
        return await self.adapter.process_activity(authenticated, activity, logic)


@asynccontextmanager
async def a_bot(**options: Any) -> AsyncIterator[Bot]:
    session, tokens, identity = HttpSession(), Tokens(), BotIdentity()
    async with ConnectorService() as service:
        authenticator = Authenticator(identity, session)
        adapter = Adapter(identity, authenticator, Connector(session, tokens, ServiceUrls(identity)), tokens, **options)
        yield Bot(adapter, service, tokens)
        await authenticator.close()
        await session.close()


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with a_bot() as made:
        yield made


class NoApp:
    APP_ID = ""
    APP_PASSWORD = ""


@asynccontextmanager
async def the_plain_sdk(logic: Logic) -> AsyncIterator[Callable[[Activity], Awaitable[int]]]:
    """A bot as the samples have it; gives the HTTP status of an answer."""
    adapter = CloudAdapter(ConfigurationBotFrameworkAuthentication(NoApp()))

    class PlainBot:
        async def on_turn(self, context: TurnContext) -> None:
            await logic(context)

    async def messages(request: web.Request) -> web.StreamResponse:
        return await adapter.process(request, PlainBot()) or web.Response()  # type: ignore[arg-type]

    app = web.Application()
    app.add_routes([web.post("/", messages)])
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:

        async def post(activity: Activity) -> int:
            async with client.post("/", json=serialise(activity)) as response:
                return response.status

        yield post


# --- Entities that lose their fields


def test_an_entity_keeps_all_of_its_fields() -> None:
    activity = Activity(type="typing", text="H", entities=[entity(STREAM_INFO)])
    the_sdk: Any = activity

    assert the_sdk.serialize()["entities"] == [{"type": "streaminfo"}]
    assert serialise(activity)["entities"] == [STREAM_INFO]


def test_entities_of_every_kind_are_written() -> None:
    activity = Activity(type="message")
    activity.entities = [Mention(text="<at>x</at>"), dict(STREAM_INFO), Entity(type="plain")]

    assert serialise(activity)["entities"] == [{"text": "<at>x</at>"}, STREAM_INFO, {"type": "plain"}]


def test_what_came_in_goes_out_as_it_came(bot: Bot) -> None:
    fields = {"entities": [STREAM_INFO], "value": {"a": [1, None]}, "timestamp": "2026-11-21T04:33:10+00:00"}

    assert serialise(bot.activity(**fields)) == serialise(bot.activity()) | fields
    assert serialise(bot.activity())["conversation"]["tenantId"] == TENANT


async def test_what_the_sdk_sends_keeps_its_entities(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        await context.send_activity(Activity(type="typing", text="H", entities=[entity(STREAM_INFO)]))

    await bot.turn(logic)

    assert bot.service.bodies[0]["entities"] == [STREAM_INFO]


# --- Sends of the SDK


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
        await bot.adapter.outlet(context).post({"type": "message", "text": "Welcome"})

    await bot.turn(logic, type="conversationUpdate")

    assert [call.path for call in bot.service.calls] == ["/teams/v3/conversations/a%3A1y/activities"] * 2


async def test_a_refused_send_reaches_the_bot_with_its_type(bot: Bot) -> None:
    bot.service.replies.append(Reply.error(403, "BotDisabledByAdmin", "no"))
    with pytest.raises(SendRefused):
        await bot.turn(lambda context: context.send_activity("Hi"))  # type: ignore[arg-type,return-value]


async def test_a_conversation_can_be_opened_and_continued(bot: Bot) -> None:
    bot.service.replies.append(Reply(201, {"id": "a:new", "activityId": "a-0"}))
    seen: list[str] = []

    async def logic(context: TurnContext) -> None:
        seen.append(context.activity.conversation.id)
        await bot.adapter.outlet(context).post({"type": "message", "text": "News"})
        await context.send_activity("More")

    sdk: Any = bot.adapter
    parameters = ConversationParameters(is_group=False, tenant_id=TENANT)
    await sdk.create_conversation(APP, logic, parameters, "msteams", bot.service.service_url)
    await sdk.continue_conversation(TurnContext.get_conversation_reference(bot.activity()), logic, APP)

    assert seen == ["a:new", "a:1y"]
    assert bot.service.calls[1].path == "/teams/v3/conversations/a%3Anew/activities"
    assert bot.service.calls[3].path == "/teams/v3/conversations/a%3A1y/activities"


# --- Outlets, past the SDK


async def test_an_outlet_addresses_what_it_sends_as_the_sdk_does(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        outlet = bot.adapter.outlet(context)
        assert await outlet.post({"type": "message", "text": "Hi", "inputHint": "acceptingInput"}) == "a-1"
        await context.send_activity("Hi")
        await outlet.update("a-1", {"type": "message", "text": "Hello"})

    await bot.turn(logic)

    ours, theirs, edit = bot.service.calls
    assert (ours.method, ours.path, ours.body) == (theirs.method, theirs.path, theirs.body)
    assert (edit.method, edit.path.rpartition("/")[2], edit.body["id"]) == ("PUT", "a-1", "a-1")


async def test_an_impatient_send_is_not_repeated(bot: Bot) -> None:
    async def logic(context: TurnContext) -> None:
        bot.service.replies.append(Reply.error(429, Retry_After="0"))
        with pytest.raises(Throttled):
            await bot.adapter.outlet(context).post({"type": "typing"}, impatient=True)

    await bot.turn(logic)

    assert len(bot.service.calls) == 1


@pytest.mark.parametrize("channel", ["directline", "webchat"])
def test_web_chat_gets_no_replies_to_an_activity(bot: Bot, channel: str) -> None:
    assert "replyToId" not in addressing(bot.activity(channelId=channel))


def test_an_activity_of_which_little_is_known_can_be_addressed() -> None:
    assert addressing(parse_activity(b'{"type":"message"}')) == {}


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
        await bot.adapter.outlet(context).post({"type": "message", "text": "Three"})

    answer = await bot.turn(logic, deliveryMode="expectReplies")

    replies = json.loads(json.dumps(answer.body))["activities"]
    assert (answer.status, [reply["text"] for reply in replies]) == (200, ["One", "Two", "Three"])
    assert replies[0]["entities"] == [STREAM_INFO]
    assert replies[2]["conversation"]["id"] == "a:1y"
    assert bot.service.calls == []


# --- Failures of authentication, under one type

HEADERS = {
    "none": None,
    "no token": "",
    "garbage": "Bearer garbage",
    "no issuer": f"Bearer {jwt.encode({'aud': APP}, 'a secret that is long enough for HS256', algorithm='HS256')}",
}


class WithApp:
    APP_ID = APP
    APP_PASSWORD = "s3cret"
    APP_TYPE = "SingleTenant"
    APP_TENANTID = TENANT


async def test_the_sdk_fails_to_authenticate_in_many_ways_and_we_in_one(bot: Bot) -> None:
    sdk = ConfigurationBotFrameworkAuthentication(WithApp())
    session = HttpSession()
    ours = Authenticator(BotIdentity(APP, "MultiTenant"), session)
    activity = bot.activity(serviceUrl=SERVICE_URL)
    kinds = set()
    for header in HEADERS.values():
        with pytest.raises(Exception) as caught:  # noqa: PT011 - its type is what is shown
            await sdk.authenticate_request(activity, header)  # type: ignore[arg-type]
        kinds.add(type(caught.value))
        with pytest.raises(Unauthenticated):
            await ours.authenticate(activity, {} if header is None else {"Authorization": header})

    assert len(kinds) > 2
    assert issubclass(Unauthenticated, PermissionError)


def sdk_authentication(metadata_url: str) -> Any:
    factory: Any = BotFrameworkAuthenticationFactory
    return factory.create(
        validate_authority=False,
        to_channel_from_bot_login_url="https://login.microsoftonline.com/botframework.com",
        to_channel_from_bot_oauth_scope="https://api.botframework.com",
        to_bot_from_channel_token_issuer="https://api.botframework.com",
        oauth_url="https://api.botframework.com",
        to_bot_from_channel_open_id_metadata_url=metadata_url,
        to_bot_from_emulator_open_id_metadata_url=metadata_url,
        caller_id="urn:botframework:azure",
        credential_factory=PasswordServiceClientCredentialFactory(APP, "s3cret"),
        auth_configuration=AuthenticationConfiguration(),
        http_client_factory=None,
    )


@dataclass
class TwoDoors:
    """The SDK's authentication and ours, at the same login service."""

    login: BotFrameworkLogin
    ours: Authenticator
    clock: list[float]

    def header(self) -> str:
        claims = {"iss": "https://api.botframework.com", "aud": APP, "serviceurl": SERVICE_URL}
        return f"Bearer {self.login.token(claims | {'exp': time.time() + 3600, 'nbf': time.time() - 60})}"

    async def the_sdk_receives(self, activity: Activity) -> str:
        """`accepted`, or the name of what it raises. In a thread: it fetches keys with a blocking call."""
        header, url = self.header(), self.login.metadata_url

        def try_it() -> str:
            try:
                asyncio.run(sdk_authentication(url).authenticate_request(activity, header))
            except Exception as error:
                return type(error).__name__
            return "accepted"

        return await asyncio.to_thread(try_it)

    async def we_receive(self, activity: Activity) -> str:
        try:
            await self.ours.authenticate(activity, {"authorization": self.header()})
        except Unauthenticated:
            return "Unauthenticated"
        return "accepted"


@pytest.fixture
async def doors() -> AsyncIterator[TwoDoors]:
    session, clock = HttpSession(), [0.0]
    async with BotFrameworkLogin() as login:
        identity = BotIdentity(APP, "SingleTenant", TENANT)
        ours = Authenticator(identity, session, channel_metadata_url=login.metadata_url, clock=lambda: clock[0])
        yield TwoDoors(login, ours, clock)
        await ours.close()
        await session.close()


def from_teams(**fields: Any) -> Activity:
    content = {"type": "message", "channelId": "msteams", "serviceUrl": SERVICE_URL} | fields
    content.setdefault("channelData", {"tenant": {"id": TENANT}})
    return parse_activity(json.dumps({name: value for name, value in content.items() if value is not None}).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"serviceUrl": None},
        {"channelId": None},
        {"channelData": {"tenant": {"id": "11111111-2222-3333-4444-555555555555"}}},
    ],
    ids=["no serviceUrl", "no channelId", "another tenant"],
)
async def test_the_checks_that_the_sdk_leaves_out_are_made(doors: TwoDoors, fields: dict[str, Any]) -> None:
    assert await doors.the_sdk_receives(from_teams(**fields)) == "accepted"
    assert await doors.we_receive(from_teams(**fields)) == "Unauthenticated"
    assert await doors.we_receive(from_teams()) == "accepted"


async def test_the_sdk_cannot_follow_a_rotated_key_and_we_can(doors: TwoDoors) -> None:
    assert await doors.the_sdk_receives(from_teams()) == "accepted"
    assert await doors.we_receive(from_teams()) == "accepted"
    doors.login.rotate()
    doors.clock[0] += 3600

    assert await doors.the_sdk_receives(from_teams()) == "IndexError"
    assert await doors.we_receive(from_teams()) == "accepted"


async def test_fetching_keys_does_not_block_the_event_loop(doors: TwoDoors) -> None:
    """The login service answers in this very event loop: a blocking call would never come back."""
    assert await doors.we_receive(from_teams()) == "accepted"


async def test_neither_web_sockets_nor_skills_are_let_in(bot: Bot) -> None:
    sdk = bot.adapter.bot_framework_authentication
    for attempt in (sdk.authenticate_streaming_request("", "msteams"), sdk.authenticate_channel_request("")):
        with pytest.raises(Unauthenticated):
            await attempt


async def test_the_sdks_own_way_in_lets_nobody_pass_without_an_address(bot: Bot) -> None:
    with pytest.raises(Unauthenticated):
        await bot.adapter.process_activity("", bot.activity(), reply_twice)


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


async def test_peoples_tokens_are_asked_for_with_the_bots_own(bot: Bot) -> None:
    user_tokens = UserTokens(BotIdentity(APP), bot.tokens, address=bot.service.service_url.removesuffix("/teams/"))
    bot.service.replies.append(Reply(200, {"connectionName": "entra", "token": "a person's"}))

    assert bot.tokens.asked == 0
    answer = await user_tokens.get_user_token("29:1x", "entra", "msteams", "")

    assert answer.token == "a person's"
    assert bot.service.calls[0].path.startswith("/api/usertoken/GetToken?userId=29%3A1x")
    assert bot.service.calls[0].token == "bot-token"


# --- Whatever breaks in a turn


async def test_a_broken_turn_is_told_to_its_hook() -> None:
    told: list[Exception] = []

    async def hook(context: TurnContext, error: Exception) -> None:
        told.append(error)
        await context.send_activity("Sorry")

    async def logic(context: TurnContext) -> None:
        raise ValueError("broken")

    async with a_bot(on_turn_error=hook) as bot:
        await bot.turn(logic)

        assert [str(error) for error in told] == ["broken"]
        assert bot.service.bodies[0]["text"] == "Sorry"
    async with a_bot() as bot:
        with pytest.raises(ValueError, match="broken"):
            await bot.turn(logic)


def test_plain_json_stays_as_it_is() -> None:
    content = {"a": [1, None, 2.5, True, "x"], "b": {}}

    assert plain(content) == content
