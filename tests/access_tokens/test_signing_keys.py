from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.access_tokens.signing_keys import MAX_AGE_SECONDS
from tests.fakes.auth_setup import APP, NOW, AuthSetup, an_authenticator
from tests.fakes.bot_framework_login import BotFrameworkLogin


@pytest.fixture
async def auth() -> AsyncIterator[AuthSetup]:
    async with an_authenticator() as opened:
        yield opened


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for happens in a task of the code under test
            await asyncio.sleep(0.005)


async def test_the_keys_are_fetched_once_for_many_messages(auth: AuthSetup) -> None:
    token = auth.login.token(auth.claims())

    await asyncio.gather(*(auth.receives(token) for _ in range(20)))

    assert (auth.login.document_requests, auth.login.key_requests) == (1, 1)


async def test_a_rotated_key_is_followed_with_its_first_token(auth: AuthSetup) -> None:
    await auth.receives(auth.login.token(auth.claims()))
    auth.login.rotate()
    auth.clock[0] += 3600

    await auth.receives(auth.login.token(auth.claims()))

    assert auth.login.document_requests == 2


async def test_a_key_that_was_withdrawn_is_refused_after_the_rotation_was_seen(auth: AuthSetup) -> None:
    old = auth.login.key
    await auth.receives(auth.login.token(auth.claims()))
    auth.login.rotate()
    auth.clock[0] += 3600
    await auth.receives(auth.login.token(auth.claims()))

    assert await auth.refuses(auth.login.token(auth.claims(), key=old)) == "the signing key is not known"


async def test_invented_key_ids_cause_one_fetch_a_minute(auth: AuthSetup) -> None:
    for _ in range(50):
        await auth.refuses(auth.login.token(auth.claims(), key=auth.login.invented_key()))
        auth.clock[0] += 1

    assert auth.login.document_requests == 1
    auth.clock[0] += 60
    await auth.refuses(auth.login.token(auth.claims(), key=auth.login.invented_key()))
    assert auth.login.document_requests == 2


async def test_implausible_tokens_cause_no_fetch(auth: AuthSetup) -> None:
    await auth.refuses(auth.login.token(auth.claims(aud="another-app")))
    await auth.refuses(auth.login.token(auth.claims(exp=NOW - 9999)))
    await auth.refuses(auth.login.token(auth.claims(serviceurl="https://evil.example/")))
    await auth.refuses(auth.login.token(auth.claims(scp="access_as_user")))

    assert auth.login.document_requests == 0


async def test_keys_are_renewed_every_day_without_anybody_waiting(auth: AuthSetup) -> None:
    token = auth.login.token(auth.claims())
    await auth.receives(token)
    auth.clock[0] += MAX_AGE_SECONDS + 1

    await auth.receives(token)
    await until(lambda: auth.login.key_requests == 2)
    await auth.receives(token)
    assert auth.login.key_requests == 2


async def test_a_failed_renewal_keeps_the_old_keys(auth: AuthSetup, caplog: pytest.LogCaptureFixture) -> None:
    token = auth.login.token(auth.claims())
    await auth.receives(token)
    auth.login.broken = True
    auth.clock[0] += MAX_AGE_SECONDS + 1

    await auth.receives(token)
    await until(lambda: auth.login.document_requests == 2)
    await until(lambda: "could not be fetched" in caplog.text)
    await auth.receives(token)


async def test_an_unknown_key_is_not_refused_while_the_keys_cannot_be_fetched(auth: AuthSetup) -> None:
    await auth.receives(auth.login.token(auth.claims()))
    known = auth.login.token(auth.claims())
    auth.login.rotate()
    auth.login.broken = True
    auth.clock[0] += 61
    await auth.is_unavailable_for(auth.login.token(auth.claims()))
    await auth.receives(known)
    auth.login.broken = False
    auth.clock[0] += 61
    await auth.receives(auth.login.token(auth.claims()))


async def test_without_any_keys_authentication_is_unavailable_and_they_are_fetched_soon_again(auth: AuthSetup) -> None:
    auth.login.broken = True
    token = auth.login.token(auth.claims())
    await auth.is_unavailable_for(token)
    asked = auth.login.document_requests
    await auth.is_unavailable_for(token)
    assert auth.login.document_requests == asked

    auth.login.broken = False
    auth.clock[0] += 5
    await auth.receives(token)


@pytest.mark.parametrize("document", [{}, {"jwks_uri": "gopher://x"}, {"jwks_uri": "file:///etc/passwd"}, [], "x"])
async def test_a_malformed_openid_document_makes_authentication_unavailable(auth: AuthSetup, document: Any) -> None:
    auth.login.document = document

    await auth.is_unavailable_for(auth.login.token(auth.claims()))


async def test_keys_are_not_fetched_in_a_less_safe_way_than_the_document(
    auth: AuthSetup, caplog: pytest.LogCaptureFixture
) -> None:
    auth.login.document = {"jwks_uri": auth.login.metadata_url.replace("http:", "ftp:")}

    await auth.is_unavailable_for(auth.login.token(auth.claims()))

    assert "the jwks_uri has another scheme than the document" in caplog.text


async def test_a_key_that_cannot_be_read_does_not_hide_the_others(auth: AuthSetup) -> None:
    odd: list[Any] = [{"kty": "RSA", "kid": "odd"}, {"kty": "EC", "kid": "ec"}, {"kty": "RSA", "n": "x", "e": "y"}, 5]
    auth.login.keys = [*odd, *auth.login.keys]

    await auth.receives(auth.login.token(auth.claims()))


async def test_a_cancelled_caller_does_not_cancel_the_fetch_for_others(auth: AuthSetup) -> None:
    token = auth.login.token(auth.claims())
    impatient = asyncio.create_task(auth.receives(token))
    patient = asyncio.create_task(auth.receives(token))
    await asyncio.sleep(0)
    impatient.cancel()

    assert (await patient)["aud"] == APP
    assert auth.login.document_requests == 1


@pytest.mark.parametrize("what", ["the document", "the keys"])
async def test_a_redirection_is_not_followed(auth: AuthSetup, what: str, caplog: pytest.LogCaptureFixture) -> None:
    async with BotFrameworkLogin() as stranger:
        stranger.keys = [auth.login.key]
        auth.login.keys = []
        auth.login.redirected = (
            {"/v1/.well-known/openidconfiguration": stranger.metadata_url}
            if what == "the document"
            else {"/keys": stranger.keys_url}
        )

        await auth.is_unavailable_for(auth.login.token(auth.claims()))

        assert stranger.document_requests + stranger.key_requests == 0
    assert "HTTP 302" in caplog.text


async def test_the_log_quotes_nothing_that_the_server_says(auth: AuthSetup, caplog: pytest.LogCaptureFixture) -> None:
    auth.login.broken = True

    await auth.is_unavailable_for(auth.login.token(auth.claims()))

    assert "HTTP 500" in caplog.text
    assert "What a server says" not in caplog.text
