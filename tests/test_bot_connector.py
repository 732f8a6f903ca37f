from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bot.app_credentials import TokenRefused, TokenUnreachable
from app.bot.connector import Connector
from app.bot.connector_answers import ChannelAnswer, NotDelivered, PerhapsDelivered, failure_of
from app.bot.http_session import HttpSession
from app.bot.identity import BotIdentity
from app.bot.send_failures import (
    MessageTooLarge,
    SendFailure,
    SendRefused,
    StoppedByPerson,
    StreamAlreadyEnded,
    StreamContentRefused,
    StreamNotAllowed,
    StreamTimeIsUp,
    Throttled,
)
from app.bot.service_url import ServiceUrls
from tests.fakes.connector_service import ConnectorService, Reply

MESSAGE = {"type": "message", "text": "Hello"}
STREAMED = {"type": "typing", "text": "H", "entities": [{"type": "streaminfo", "streamSequence": 1}]}
NOW = datetime(2026, 11, 21, 5, 0, 0, tzinfo=UTC)


@dataclass
class Tokens:
    failure: Exception | None = None
    number: int = 1

    async def token(self) -> str | None:
        if self.failure:
            raise self.failure
        return f"token-{self.number}"

    def forget(self, token: str) -> None:
        if token == f"token-{self.number}":
            self.number += 1


@dataclass
class Channel:
    service: ConnectorService
    connector: Connector
    tokens: Tokens
    session: HttpSession
    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    stands_still_for: float = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.stands_still_for

    async def send(self, activity: dict[str, Any] = MESSAGE, *, budget: float = 30, **more: Any) -> str | None:
        return await self.connector.send(self.service.service_url, "a:1", activity, budget=budget, **more)

    async def fails(self, *replies: Reply, activity: dict[str, Any] = MESSAGE, budget: float = 0) -> SendFailure:
        self.service.replies.extend(replies)
        with pytest.raises(SendFailure) as caught:
            await self.send(activity, budget=budget)
        return caught.value


@asynccontextmanager
async def a_channel(**limits: float) -> AsyncIterator[Channel]:
    session, tokens = HttpSession(), Tokens()
    async with ConnectorService() as service:
        channel: Channel
        connector = Connector(
            session,
            tokens,
            ServiceUrls(BotIdentity()),
            sleep=lambda seconds: channel.sleep(seconds),
            clock=lambda: channel.now,
            jitter=lambda: 1.0,
            **limits,
        )
        channel = Channel(service, connector, tokens, session)
        yield channel
        await session.close()


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    async with a_channel() as opened:
        yield opened


# --- What goes out


async def test_a_message_is_posted_to_its_conversation(channel: Channel) -> None:
    assert await channel.send() == "a-1"

    call = channel.service.calls[0]
    assert (call.method, call.path) == ("POST", "/teams/v3/conversations/a%3A1/activities")
    assert (call.body, call.token) == (MESSAGE, "token-1")


async def test_a_reply_an_edit_and_a_deletion_go_to_their_activity(channel: Channel) -> None:
    url = channel.service.service_url
    await channel.connector.send(url, "19:x@thread.tacv2;messageid=1", MESSAGE, "f:1")
    await channel.connector.update(url, "a:1", "1/2", MESSAGE)
    await channel.connector.delete(url, "a:1", "..")
    await channel.connector.create_conversation(url, {"isGroup": False})

    assert [(call.method, call.path.removeprefix("/teams/v3/conversations")) for call in channel.service.calls] == [
        ("POST", "/19%3Ax%40thread.tacv2%3Bmessageid%3D1/activities/f%3A1"),
        ("PUT", "/a%3A1/activities/1%2F2"),
        ("DELETE", "/a%3A1/activities/%2E%2E"),
        ("POST", ""),
    ]


async def test_sends_share_their_connections(channel: Channel) -> None:
    for _ in range(5):
        await channel.send()

    connector = channel.session.get().connector
    assert connector is not None
    assert [len(kept) for kept in connector._conns.values()] == [1]


@pytest.mark.parametrize("body", [{}, None, b"", b"not json", [], {"id": 5}, {"id": ""}, b"[" * 5000])
async def test_an_answer_without_an_id_is_a_success_without_an_id(channel: Channel, body: Any) -> None:
    channel.service.replies.append(Reply(202, body))

    assert await channel.send() is None


async def test_half_an_emoji_does_not_stop_a_message(channel: Channel) -> None:
    await channel.send({"type": "message", "text": "Hi \ud83d"})

    assert channel.service.bodies == [{"type": "message", "text": "Hi ?"}]


async def test_without_a_token_none_is_sent(channel: Channel) -> None:
    async def no_token() -> None:
        return None

    channel.tokens.token = no_token  # type: ignore[method-assign]
    await channel.send()

    assert channel.service.calls[0].token is None


@pytest.mark.parametrize("url", ["https://evil.example/", "http://10.0.0.1/", "", "http://127.0.0.1:99999/"])
async def test_nothing_is_sent_to_a_service_url_that_is_not_trusted(channel: Channel, url: str) -> None:
    with pytest.raises(SendRefused):
        await channel.connector.send(url, "a:1", MESSAGE)
    with pytest.raises(SendRefused):
        await channel.connector.create_conversation(url, {})


async def test_an_activity_without_a_conversation_is_refused_before_it_is_sent(channel: Channel) -> None:
    with pytest.raises(SendRefused):
        await channel.connector.send(channel.service.service_url, "", MESSAGE)
    assert channel.service.calls == []


async def test_a_redirect_is_not_followed(channel: Channel) -> None:
    async with ConnectorService() as elsewhere:
        failure = await channel.fails(Reply(307, headers={"Location": elsewhere.service_url}))

        assert isinstance(failure, SendRefused)
        assert elsewhere.calls == []


# --- What an answer means

REFUSALS: list[tuple[int, str, str, type[SendFailure]]] = [
    (403, "ContentStreamNotAllowed", "Content stream was canceled by user", StoppedByPerson),
    (403, "ContentStreamNotAllowed", "Content stream was cancelled by user.", StoppedByPerson),
    (403, "ContentStreamNotAllowed", "Content stream finished due to exceeded streaming time.", StreamTimeIsUp),
    (
        403,
        "ContentStreamNotAllowed",
        "Content stream is not allowed on an already completed streamed message",
        StreamAlreadyEnded,
    ),
    (403, "ContentStreamNotAllowed", "Content stream is not allowed", StreamNotAllowed),
    (403, "ContentStreamNotAllowed", "Message size too large", MessageTooLarge),
    (
        403,
        "ContentStreamNotAllowed",
        "Request streamed content should contain the previously streamed content",
        StreamContentRefused,
    ),
    (403, "ContentStreamNotAllowed", "Something new about streams", StreamNotAllowed),
    (400, "BadArgument", "The bot's streaming api is not enabled", StreamNotAllowed),
    (405, "", "Method Not Allowed", StreamNotAllowed),
    (403, "BotDisabledByAdmin", "The tenant admin disabled this bot", SendRefused),
    (403, "BotNotInConversationRoster", "The bot is not part of the conversation roster.", SendRefused),
    (400, "BadRequest", "Start streaming activities should include text", SendRefused),
    (400, "MessageSizeTooBig", "Message size too large.", MessageTooLarge),
    (413, "MessageSizeTooBig", "Message size too large.", MessageTooLarge),
    (404, "ConversationNotFound", "Conversation not found.", SendRefused),
    (429, "", "API calls quota exceeded", Throttled),
    (412, "PreconditionFailed", "", NotDelivered),
    (500, "ServiceError", "Unknown", PerhapsDelivered),
    (502, "", "", PerhapsDelivered),
    (503, "", "", PerhapsDelivered),
    (504, "", "", PerhapsDelivered),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), REFUSALS)
async def test_refusals_are_told_apart_by_what_the_sender_must_do(
    channel: Channel, status: int, code: str, message: str, kind: type[SendFailure]
) -> None:
    failure = await channel.fails(Reply.error(status, code, message), activity=STREAMED)

    assert type(failure) is kind
    assert str(status) in str(failure)
    assert code in str(failure)


async def test_a_method_that_is_not_allowed_is_about_streaming_only_in_a_stream(channel: Channel) -> None:
    assert type(await channel.fails(Reply.error(405))) is SendRefused


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Sat, 21 Nov 2026 05:00:10 GMT", 10.0),
        ("Sat, 21 Nov 2026 04:00:00 GMT", 0.0),
        ("999999999", 3600.0),
        ("-5", None),
        ("soon", None),
        ("1e9999", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_every_form(header: str | None, seconds: float | None) -> None:
    failure = failure_of(ChannelAnswer(429, b"", header), streams=False, now=NOW)

    assert isinstance(failure, Throttled)
    assert failure.retry_after == seconds


@given(st.integers(300, 599), st.binary(max_size=200), st.none() | st.text(max_size=30), st.booleans())
def test_no_answer_is_beyond_understanding(status: int, body: bytes, retry_after: str | None, streams: bool) -> None:
    failure = failure_of(ChannelAnswer(status, body, retry_after), streams=streams, now=NOW)

    assert isinstance(failure, SendFailure)
    assert str(failure).isprintable()


# --- What is repeated


async def test_a_throttled_message_is_sent_again_when_the_channel_says(channel: Channel) -> None:
    channel.service.replies.extend([Reply.error(429, Retry_After="4"), Reply.error(429), Reply.error(429)])

    assert await channel.send() == "a-4"
    assert channel.slept == [4.0, 2.0, 4.0]


async def test_a_conflict_that_changed_nothing_is_sent_again(channel: Channel) -> None:
    channel.service.replies.append(Reply.error(412))

    assert await channel.send() == "a-2"


async def test_nothing_is_repeated_beyond_the_budget(channel: Channel) -> None:
    failure = await channel.fails(*[Reply.error(429)] * 20, budget=10)

    assert isinstance(failure, Throttled)
    assert sum(channel.slept) < 10


async def test_a_pause_that_the_budget_does_not_allow_is_not_made(channel: Channel) -> None:
    failure = await channel.fails(Reply.error(429, Retry_After="60"), budget=10)

    assert isinstance(failure, Throttled)
    assert (failure.retry_after, channel.slept) == (60, [])


async def test_a_process_that_stood_still_meanwhile_does_not_send_again(channel: Channel) -> None:
    channel.stands_still_for = 60

    assert isinstance(await channel.fails(Reply.error(429), budget=30), Throttled)
    assert len(channel.service.calls) == 1, "another worker has said it by now"


async def test_without_a_budget_there_is_one_try(channel: Channel) -> None:
    assert isinstance(await channel.fails(Reply.error(429, Retry_After="0")), Throttled)
    assert len(channel.service.calls) == 1


async def test_a_retry_after_of_nothing_does_not_hammer_the_channel(channel: Channel) -> None:
    await channel.fails(*[Reply.error(429, Retry_After="0")] * 50, budget=5)

    assert len(channel.service.calls) <= 11


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_message_is_not_posted_twice_when_nobody_knows_what_became_of_it(channel: Channel, status: int) -> None:
    assert isinstance(await channel.fails(Reply.error(status), budget=30), PerhapsDelivered)
    assert len(channel.service.calls) == 1


@pytest.mark.parametrize("status", [412, 429, 500, 502, 503, 504])
async def test_an_edit_and_a_deletion_bear_to_be_done_twice(channel: Channel, status: int) -> None:
    url = channel.service.service_url
    channel.service.replies.append(Reply.error(status))
    await channel.connector.update(url, "a:1", "1", MESSAGE, budget=30)
    channel.service.replies.append(Reply.error(status))
    await channel.connector.delete(url, "a:1", "1", budget=30)

    assert [call.method for call in channel.service.calls] == ["PUT", "PUT", "DELETE", "DELETE"]


async def test_a_connection_that_breaks_under_a_message_does_not_post_it_twice(channel: Channel) -> None:
    failure = await channel.fails(Reply(drop=True), budget=30)

    assert isinstance(failure, PerhapsDelivered)
    assert len(channel.service.calls) == 1


async def test_a_connection_that_breaks_under_an_edit_is_tried_again(channel: Channel) -> None:
    channel.service.replies.append(Reply(drop=True))

    await channel.connector.update(channel.service.service_url, "a:1", "1", MESSAGE, budget=30)


async def test_a_message_that_found_no_connection_is_sent_again() -> None:
    async with a_channel() as channel:
        nobody = "http://127.0.0.1:9/"
        with pytest.raises(NotDelivered):
            await channel.connector.send(nobody, "a:1", MESSAGE, budget=6)

    assert channel.slept == [1.0, 2.0]


async def test_a_channel_that_does_not_answer_costs_no_more_than_the_time_limit() -> None:
    async with a_channel(time_limit=1.0) as channel:
        hold = asyncio.Event()
        failure = await channel.fails(Reply(hold=hold), budget=30)
        hold.set()

        assert isinstance(failure, PerhapsDelivered)
        assert len(channel.service.calls) == 1


async def test_a_caller_who_gives_up_ends_the_request(channel: Channel) -> None:
    hold = asyncio.Event()
    channel.service.replies.append(Reply(hold=hold))
    sending = asyncio.create_task(channel.send())
    async with asyncio.timeout(5):
        while not channel.service.calls:  # noqa: ASYNC110 - taken by the server's own task
            await asyncio.sleep(0.005)
    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    hold.set()


# --- Tokens


async def test_a_refused_token_is_renewed_once(channel: Channel) -> None:
    channel.service.refused_tokens = {"token-1"}

    assert await channel.send() == "a-2"
    assert [call.token for call in channel.service.calls] == ["token-1", "token-2"]


async def test_a_bot_that_is_refused_with_a_new_token_too_is_refused(channel: Channel) -> None:
    channel.service.refused_tokens = {"token-1", "token-2"}

    assert isinstance(await channel.fails(budget=30), SendRefused)
    assert len(channel.service.calls) == 2


async def test_a_message_without_a_token_was_certainly_not_posted(channel: Channel) -> None:
    channel.tokens.failure = TokenUnreachable("no answer")
    assert isinstance(await channel.fails(), NotDelivered)
    channel.tokens.failure = TokenRefused("wrong secret")
    assert isinstance(await channel.fails(), SendRefused)

    assert channel.service.calls == []


async def test_neither_a_token_nor_a_message_is_logged(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        failure = await channel.fails(Reply.error(500, "ServiceError", "x"))
        await channel.send()

    for secret in ("token-1", "Hello"):
        assert secret not in caplog.text + repr(failure)
