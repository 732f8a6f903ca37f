"""What is sent to a channel, and what its responses mean."""

from __future__ import annotations

import asyncio
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bot.connector.send_error_classification import ChannelResponse, classify_send_error
from app.bot.connector.send_errors import (
    ConversationClosedError,
    DeliveryUnknownError,
    MessageTooLargeError,
    NotDeliveredError,
    SendError,
    SendRefusedError,
    StoppedByUserError,
    StreamAlreadyEndedError,
    StreamContentRefusedError,
    StreamNotAllowedError,
    StreamTimeLimitError,
    ThrottledError,
)
from tests.fakes.connector_service import ConnectorService, Reply
from tests.fakes.open_channel import MESSAGE, Channel

STREAMED = {"type": "typing", "text": "H", "entities": [{"type": "streaminfo", "streamSequence": 1}]}
NOW = datetime(2026, 11, 21, 5, 0, 0, tzinfo=UTC)


async def test_a_message_is_posted_to_its_conversation(channel: Channel) -> None:
    assert await channel.send() == "a-1"

    call = channel.service.calls[0]
    assert (call.method, call.path) == ("POST", "/teams/v3/conversations/a%3A1/activities")
    assert (call.body, call.token) == (MESSAGE, "token-1")


async def test_a_servers_words_are_cleaned_before_they_are_logged(channel: Channel) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 forged\x1b[31m line\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DeliveryUnknownError) as caught:
            await channel.connector.send(f"http://127.0.0.1:{port}/", "a:1", MESSAGE)

    assert "forged" not in "".join(traceback.format_exception(caught.value))


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
    with pytest.raises(SendRefusedError):
        await channel.connector.send(url, "a:1", MESSAGE)
    with pytest.raises(SendRefusedError):
        await channel.connector.create_conversation(url, {})


async def test_an_activity_without_a_conversation_is_refused_before_it_is_sent(channel: Channel) -> None:
    with pytest.raises(SendRefusedError):
        await channel.connector.send(channel.service.service_url, "", MESSAGE)
    assert channel.service.calls == []


async def test_a_redirect_is_not_followed(channel: Channel) -> None:
    async with ConnectorService() as elsewhere:
        failure = await channel.fails(Reply(307, headers={"Location": elsewhere.service_url}))

        assert isinstance(failure, SendRefusedError)
        assert elsewhere.calls == []


# --- What an answer means

REFUSALS: list[tuple[int, str, str, type[SendError]]] = [
    (403, "ContentStreamNotAllowed", "Content stream was canceled by user", StoppedByUserError),
    (403, "ContentStreamNotAllowed", "Content stream was cancelled by user.", StoppedByUserError),
    (403, "ContentStreamNotAllowed", "Content stream finished due to exceeded streaming time.", StreamTimeLimitError),
    (
        403,
        "ContentStreamNotAllowed",
        "Content stream is not allowed on an already completed streamed message",
        StreamAlreadyEndedError,
    ),
    (403, "ContentStreamNotAllowed", "Content stream is not allowed", StreamNotAllowedError),
    (403, "ContentStreamNotAllowed", "Message size too large", MessageTooLargeError),
    (
        403,
        "ContentStreamNotAllowed",
        "Request streamed content should contain the previously streamed content",
        StreamContentRefusedError,
    ),
    (403, "ContentStreamNotAllowed", "Something new about streams", StreamNotAllowedError),
    (400, "BadArgument", "The bot's streaming api is not enabled", StreamNotAllowedError),
    (405, "", "Method Not Allowed", StreamNotAllowedError),
    (403, "BotDisabledByAdmin", "The tenant admin disabled this bot", ConversationClosedError),
    (403, "BotNotInConversationRoster", "The bot is not part of the conversation roster.", ConversationClosedError),
    (400, "BadRequest", "Start streaming activities should include text", SendRefusedError),
    (400, "MessageSizeTooBig", "Message size too large.", MessageTooLargeError),
    (413, "MessageSizeTooBig", "Message size too large.", MessageTooLargeError),
    (404, "ConversationNotFound", "Conversation not found.", ConversationClosedError),
    (429, "", "API calls quota exceeded", ThrottledError),
    (412, "PreconditionFailed", "", NotDeliveredError),
    (500, "ServiceError", "Unknown", DeliveryUnknownError),
    (502, "", "", DeliveryUnknownError),
    (503, "", "", DeliveryUnknownError),
    (504, "", "", DeliveryUnknownError),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), REFUSALS)
async def test_refusals_become_errors_by_what_the_sender_has_to_do(
    channel: Channel, status: int, code: str, message: str, kind: type[SendError]
) -> None:
    failure = await channel.fails(Reply.error(status, code, message), activity=STREAMED)

    assert type(failure) is kind
    assert str(status) in str(failure)
    assert code in str(failure)


async def test_a_method_that_is_not_allowed_is_about_streaming_only_in_a_stream(channel: Channel) -> None:
    assert type(await channel.fails(Reply.error(405))) is SendRefusedError


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
    failure = classify_send_error(ChannelResponse(429, b"", header), streams=False, now=NOW)

    assert isinstance(failure, ThrottledError)
    assert failure.retry_after_seconds == seconds


@given(st.integers(300, 599), st.binary(max_size=200), st.none() | st.text(max_size=30), st.booleans())
def test_any_response_becomes_an_error(status: int, body: bytes, retry_after: str | None, streams: bool) -> None:
    failure = classify_send_error(ChannelResponse(status, body, retry_after), streams=streams, now=NOW)

    assert isinstance(failure, SendError)
    assert str(failure).isprintable()
