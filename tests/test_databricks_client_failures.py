"""What a serving endpoint fails at, what is asked again, and how long that may take."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from pydantic import SecretStr

from app.databricks.credentials import ServicePrincipal
from app.databricks_client import RetryPolicy, TimeLimits
from app.models.model_errors import (
    ContentFilteredError,
    ConversationTooLongError,
    EndpointUnavailableError,
    EndpointUnreachableError,
    ModelError,
    ModelTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    RequestRefusedError,
    SignInError,
    UnknownModelError,
    UnreadableAnswerError,
)
from tests.fakes.endpoint_model import Sleeper, answer, asking, shown_before, text_of
from tests.fakes.serving_endpoint import (
    TOKEN,
    HttpReply,
    ServingEndpoint,
    Stream,
    chat_chunk,
    databricks_error,
)


async def test_a_stream_cut_before_its_first_word_is_asked_for_again() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream(["cut"]))
        assert text_of(await answer(model)) == "Hello"
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (databricks_error(403, "PERMISSION_DENIED", "You may not query this endpoint"), PermissionDeniedError),
        (databricks_error(404, "RESOURCE_DOES_NOT_EXIST", "no such endpoint"), UnknownModelError),
        (databricks_error(400, "BAD_REQUEST", "maximum context length is 4096 tokens"), ConversationTooLongError),
        (
            databricks_error(400, "BAD_REQUEST", json.dumps({"finishReason": "input_guardrail_triggered"})),
            ContentFilteredError,
        ),
        (HttpReply(302, "", {"Location": "https://login.example/oauth2/authorize"}), SignInError),
        (HttpReply(500, "<html>oops</html>", content_type="text/html"), RequestRefusedError),
        (Stream([b"<html>a page of the wifi</html>"], content_type="text/html"), UnreadableAnswerError),
        (Stream([b"data: garbage\n\n"]), UnreadableAnswerError),
    ],
)
async def test_each_refusal_reaches_the_caller_as_its_own_failure(
    reply: HttpReply | Stream, failure: type[ModelError]
) -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, retries=RetryPolicy(attempts=1)) as model:
        endpoint.replies.append(reply)
        with pytest.raises(failure) as caught:
            await answer(model)
        assert TOKEN not in str(caught.value)
        assert caught.value.__cause__ is None or TOKEN not in str(caught.value.__cause__)


async def test_a_busy_endpoint_is_asked_again_when_it_said_to() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper) as model:
        busy = databricks_error(429, "REQUEST_LIMIT_EXCEEDED", "slow down", Retry_After="3")
        endpoint.replies.extend([busy, databricks_error(503, "TEMPORARILY_UNAVAILABLE", "soon", Retry_After="1"), busy])
        assert text_of(await answer(model)) == "Hello"
    assert sleeper.pauses == [3.25, 1.25, 3.25]


async def test_an_endpoint_that_says_nothing_of_when_is_asked_at_growing_distances() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper) as model:
        endpoint.replies.extend([databricks_error(503, "", "scaled to zero")] * 4)
        with pytest.raises(EndpointUnavailableError):
            await answer(model)
    assert sleeper.pauses == [0.5, 1.0, 2.0]
    assert len(endpoint.asked) == 4


async def test_nobody_is_kept_waiting_longer_than_the_time_limit_for_another_attempt() -> None:
    sleeper = Sleeper()
    limits = TimeLimits(overall_seconds=10)
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, limits=limits) as model:
        endpoint.replies.append(databricks_error(429, "", "slow down", Retry_After="20"))
        with pytest.raises(RateLimitedError) as caught:
            await answer(model)
    assert caught.value.retry_after_seconds == 20
    assert sleeper.pauses == []


async def test_what_was_shown_is_never_asked_for_again() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        busy = b'data: {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}\n\n'
        endpoint.replies.append(Stream([chat_chunk({"content": "Half"}), busy]))
        assert await shown_before(RateLimitedError, model) == "Half"
    assert len(endpoint.asked) == 1


async def test_a_refused_token_is_renewed_once() -> None:
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "id", SecretStr("s3cret"))
        async with asking(endpoint, api="chat", credential=credential) as model:
            await answer(model)
            endpoint.accepted_tokens.clear()
            assert text_of(await answer(model)) == "Hello"
            assert [asked.token for asked in endpoint.asked] == ["oauth-token-1", "oauth-token-1", "oauth-token-2"]


async def test_a_refused_personal_token_is_a_failed_sign_in_that_does_not_show_it() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, api="chat") as model:
        endpoint.accepted_tokens.clear()
        with pytest.raises(SignInError) as caught:
            await answer(model)
        assert TOKEN not in str(caught.value)
    assert len(endpoint.asked) == 1


async def test_a_credential_that_cannot_be_had_is_a_failed_sign_in() -> None:
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "id", SecretStr("s3cret"))
        for api in ("auto", "chat"):
            endpoint.sign_in_replies.append(HttpReply(401, {"error": "invalid_client"}))
            async with asking(endpoint, api=api, credential=credential) as model:
                with pytest.raises(SignInError, match="invalid_client"):
                    await answer(model)
    assert endpoint.asked == []


@pytest.mark.parametrize("steps", [[], [chat_chunk({"content": "Half"})]])
async def test_an_endpoint_that_falls_silent_is_a_timeout(steps: list[bytes]) -> None:
    limits = TimeLimits(silence_seconds=0.1)
    async with ServingEndpoint() as endpoint, asking(endpoint, limits=limits) as model:
        endpoint.replies.append(Stream([*steps, "hang"]))
        assert await shown_before(ModelTimeoutError, model) == "Half" * len(steps)
        await asyncio.wait_for(endpoint.disconnected.wait(), 5)


async def test_an_answer_that_never_ends_is_stopped_at_the_time_limit() -> None:
    limits = TimeLimits(overall_seconds=0.5)
    async with ServingEndpoint() as endpoint, asking(endpoint, limits=limits, api="chat") as model:
        await model.prepare()
        endpoint.replies.append(Stream([chat_chunk({"content": "Half"}), "hang"]))
        assert await shown_before(ModelTimeoutError, model) == "Half"
        await asyncio.wait_for(endpoint.disconnected.wait(), 5)


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        sleeper = Sleeper()
        async with asking(address, sleeper=sleeper, api="chat") as model:
            with pytest.raises(EndpointUnreachableError):
                await answer(model)
    assert len(sleeper.pauses) == 3


async def test_a_host_that_accepts_but_never_speaks_tls_is_unreachable_within_the_connect_limit() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    limits = TimeLimits(connect_seconds=0.1)
    async with server, asking(address, limits=limits, api="chat", retries=RetryPolicy(attempts=1)) as model:
        with pytest.raises(EndpointUnreachableError):
            await answer(model)
        for writer in accepted:
            writer.close()


async def test_of_an_error_without_end_only_the_beginning_is_read() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint) as model:
        endpoint.replies.append(Stream([b"No, " + b"x" * 100_000, "hang"], "text/plain", status=400))
        async with asyncio.timeout(10):
            with pytest.raises(RequestRefusedError) as caught:
                await answer(model)
            await endpoint.disconnected.wait()
        assert caught.value.detail.startswith("No, xxx")
