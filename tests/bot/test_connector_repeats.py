"""What is sent to a channel again, and with which token."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.bot.auth.app_credentials import TokenRefusedError, TokenUnreachableError
from app.bot.connector.send_errors import (
    DeliveryUnknownError,
    NotDeliveredError,
    SendRefusedError,
    StoppedByUserError,
    ThrottledError,
)
from app.local.lifetime import listen, port_of
from tests.fakes.connector_service import Reply
from tests.fakes.open_channel import MESSAGE, Channel, a_channel


async def test_a_throttled_message_is_sent_again_when_the_channel_says(channel: Channel) -> None:
    channel.service.replies.extend([Reply.error(429, Retry_After="4"), Reply.error(429), Reply.error(429)])

    assert await channel.send() == "a-4"
    assert channel.slept == [4.0, 2.0, 4.0]


async def test_a_conflict_that_changed_nothing_is_sent_again(channel: Channel) -> None:
    channel.service.replies.append(Reply.error(412))

    assert await channel.send() == "a-2"


async def test_nothing_is_repeated_after_the_time_for_retries(channel: Channel) -> None:
    failure = await channel.fails(*[Reply.error(429)] * 20, retry_seconds=10)

    assert isinstance(failure, ThrottledError)
    assert sum(channel.slept) < 10


async def test_a_pause_longer_than_the_time_for_retries_is_not_made(channel: Channel) -> None:
    failure = await channel.fails(Reply.error(429, Retry_After="60"), retry_seconds=10)

    assert isinstance(failure, ThrottledError)
    assert (failure.retry_after_seconds, channel.slept) == (60, [])


async def test_a_process_that_stalled_during_the_pause_does_not_send_again(channel: Channel) -> None:
    channel.stands_still_for = 60

    assert isinstance(await channel.fails(Reply.error(429), retry_seconds=30), ThrottledError)
    assert len(channel.service.calls) == 1, "another worker has said it by now"


async def test_without_time_for_retries_there_is_one_try(channel: Channel) -> None:
    assert isinstance(await channel.fails(Reply.error(429, Retry_After="0")), ThrottledError)
    assert len(channel.service.calls) == 1


async def test_a_retry_after_of_zero_still_makes_a_pause(channel: Channel) -> None:
    await channel.fails(*[Reply.error(429, Retry_After="0")] * 50, retry_seconds=5)

    assert len(channel.service.calls) <= 11


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_message_that_may_have_been_posted_is_not_posted_again(channel: Channel, status: int) -> None:
    assert isinstance(await channel.fails(Reply.error(status), retry_seconds=30), DeliveryUnknownError)
    assert len(channel.service.calls) == 1


@pytest.mark.parametrize("status", [412, 429, 500, 502, 503, 504])
async def test_an_edit_and_a_deletion_are_repeated(channel: Channel, status: int) -> None:
    url = channel.service.service_url
    channel.service.replies.append(Reply.error(status))
    await channel.connector.update(url, "a:1", "1", MESSAGE, retry_seconds=30)
    channel.service.replies.append(Reply.error(status))
    await channel.connector.delete(url, "a:1", "1", retry_seconds=30)

    assert [call.method for call in channel.service.calls] == ["PUT", "PUT", "DELETE", "DELETE"]


async def test_a_message_whose_connection_breaks_is_not_posted_again(channel: Channel) -> None:
    failure = await channel.fails(Reply(drop=True), retry_seconds=30)

    assert isinstance(failure, DeliveryUnknownError)
    assert len(channel.service.calls) == 1


async def test_an_edit_whose_connection_breaks_is_repeated(channel: Channel) -> None:
    channel.service.replies.append(Reply(drop=True))

    await channel.connector.update(channel.service.service_url, "a:1", "1", MESSAGE, retry_seconds=30)


async def test_a_message_that_got_no_connection_is_sent_again() -> None:
    async with a_channel() as channel:
        nobody = "http://127.0.0.1:9/"
        with pytest.raises(NotDeliveredError):
            await channel.connector.send(nobody, "a:1", MESSAGE, retry_seconds=6)

    assert channel.slept == [1.0, 2.0]


async def test_a_channel_that_does_not_answer_costs_the_time_limit_at_most() -> None:
    async with a_channel(timeout_seconds=1.0) as channel:
        hold = asyncio.Event()
        failure = await channel.fails(Reply(hold=hold), retry_seconds=30)
        hold.set()

        assert isinstance(failure, DeliveryUnknownError)
        assert len(channel.service.calls) == 1


async def test_cancelling_a_send_ends_its_request(channel: Channel) -> None:
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


async def test_a_refused_token_is_renewed_once(channel: Channel) -> None:
    channel.service.refused_tokens = {"token-1"}

    assert await channel.send() == "a-2"
    assert [call.token for call in channel.service.calls] == ["token-1", "token-2"]


async def test_a_refusal_of_the_renewed_token_too_is_final(channel: Channel) -> None:
    channel.service.refused_tokens = {"token-1", "token-2"}

    assert isinstance(await channel.fails(retry_seconds=30), SendRefusedError)
    assert len(channel.service.calls) == 2


async def test_a_message_without_a_token_was_certainly_not_posted(channel: Channel) -> None:
    channel.tokens.failure = TokenUnreachableError("no answer")
    assert isinstance(await channel.fails(), NotDeliveredError)
    channel.tokens.failure = TokenRefusedError("wrong secret")
    assert isinstance(await channel.fails(), SendRefusedError)

    assert channel.service.calls == []


async def test_neither_a_token_nor_a_message_is_logged(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        failure = await channel.fails(Reply.error(500, "ServiceError", "x"))
        await channel.send()

    for secret in ("token-1", "Hello"):
        assert secret not in caplog.text + repr(failure)


async def test_a_terminal_that_was_closed_counts_as_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an app id the channel is on this machine, and its closed port is not opened again."""

    async def no_token() -> None:
        return None

    async with a_channel() as channel:
        monkeypatch.setattr(channel.tokens, "token", no_token)
        with listen(0) as nobody:
            port = port_of(nobody)
        with pytest.raises(StoppedByUserError):
            await channel.connector.send(f"http://127.0.0.1:{port}/", "a:1", MESSAGE, retry_seconds=6)

    assert channel.slept == []
