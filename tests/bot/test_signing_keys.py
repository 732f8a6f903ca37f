from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.bot.auth.signing_keys import KEPT_FOR
from tests.fakes.bot_framework_login import BotFrameworkLogin
from tests.fakes.guarded_bot import APP, NOW, Door, a_door


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with a_door() as opened:
        yield opened


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for happens in a task of the code under test
            await asyncio.sleep(0.005)


async def test_the_keys_are_fetched_once_for_many_messages(door: Door) -> None:
    token = door.login.token(door.claims())

    await asyncio.gather(*(door.receives(token) for _ in range(20)))

    assert (door.login.document_requests, door.login.key_requests) == (1, 1)


async def test_a_rotated_key_is_followed_with_its_first_token(door: Door) -> None:
    await door.receives(door.login.token(door.claims()))
    door.login.rotate()
    door.clock[0] += 3600

    await door.receives(door.login.token(door.claims()))

    assert door.login.document_requests == 2


async def test_a_key_that_was_withdrawn_is_refused_after_the_rotation_was_seen(door: Door) -> None:
    old = door.login.key
    await door.receives(door.login.token(door.claims()))
    door.login.rotate()
    door.clock[0] += 3600
    await door.receives(door.login.token(door.claims()))

    assert await door.refuses(door.login.token(door.claims(), key=old)) == "the signing key is not known"


async def test_invented_keys_do_not_make_us_hammer_the_login_service(door: Door) -> None:
    for _ in range(50):
        await door.refuses(door.login.token(door.claims(), key=door.login.invented_key()))
        door.clock[0] += 1

    assert door.login.document_requests == 1
    door.clock[0] += 60
    await door.refuses(door.login.token(door.claims(), key=door.login.invented_key()))
    assert door.login.document_requests == 2


async def test_implausible_tokens_do_not_make_us_fetch_keys(door: Door) -> None:
    await door.refuses(door.login.token(door.claims(aud="another-app")))
    await door.refuses(door.login.token(door.claims(exp=NOW - 9999)))
    await door.refuses(door.login.token(door.claims(serviceurl="https://evil.example/")))
    await door.refuses(door.login.token(door.claims(scp="access_as_user")))

    assert door.login.document_requests == 0


async def test_keys_are_renewed_every_day_without_anybody_waiting(door: Door) -> None:
    token = door.login.token(door.claims())
    await door.receives(token)
    door.clock[0] += KEPT_FOR + 1

    await door.receives(token)
    await until(lambda: door.login.key_requests == 2)
    await door.receives(token)
    assert door.login.key_requests == 2


async def test_a_failed_renewal_keeps_the_old_keys(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    token = door.login.token(door.claims())
    await door.receives(token)
    door.login.broken = True
    door.clock[0] += KEPT_FOR + 1

    await door.receives(token)
    await until(lambda: door.login.document_requests == 2)
    await until(lambda: "could not be fetched" in caplog.text)
    await door.receives(token)


async def test_a_key_that_may_be_new_is_no_strangers_while_the_document_cannot_be_fetched(door: Door) -> None:
    await door.receives(door.login.token(door.claims()))
    known = door.login.token(door.claims())
    door.login.rotate()
    door.login.broken = True
    door.clock[0] += 61
    await door.cannot_tell(door.login.token(door.claims()))
    await door.receives(known)
    door.login.broken = False
    door.clock[0] += 61
    await door.receives(door.login.token(door.claims()))


async def test_without_any_keys_nobody_can_tell_and_they_are_fetched_a_little_later(door: Door) -> None:
    door.login.broken = True
    token = door.login.token(door.claims())
    await door.cannot_tell(token)
    asked = door.login.document_requests
    await door.cannot_tell(token)
    assert door.login.document_requests == asked

    door.login.broken = False
    door.clock[0] += 5
    await door.receives(token)


@pytest.mark.parametrize("document", [{}, {"jwks_uri": "gopher://x"}, {"jwks_uri": "file:///etc/passwd"}, [], "x"])
async def test_an_openid_document_that_is_none_is_no_fault(door: Door, document: Any) -> None:
    door.login.document = document

    await door.cannot_tell(door.login.token(door.claims()))


async def test_keys_are_not_fetched_in_a_less_safe_way_than_the_document(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.login.document = {"jwks_uri": door.login.metadata_url.replace("http:", "ftp:")}

    await door.cannot_tell(door.login.token(door.claims()))

    assert "the keys are not where the document is trusted to send us" in caplog.text


async def test_a_key_that_cannot_be_read_does_not_hide_the_others(door: Door) -> None:
    odd: list[Any] = [{"kty": "RSA", "kid": "odd"}, {"kty": "EC", "kid": "ec"}, {"kty": "RSA", "n": "x", "e": "y"}, 5]
    door.login.keys = [*odd, *door.login.keys]

    await door.receives(door.login.token(door.claims()))


async def test_a_caller_who_gives_up_does_not_take_the_keys_from_the_others(door: Door) -> None:
    token = door.login.token(door.claims())
    impatient = asyncio.create_task(door.receives(token))
    patient = asyncio.create_task(door.receives(token))
    await asyncio.sleep(0)
    impatient.cancel()

    assert (await patient)["aud"] == APP
    assert door.login.document_requests == 1


async def test_warming_up_fetches_the_keys_before_the_first_message(door: Door) -> None:
    await door.authenticator.warm_up()
    assert door.login.key_requests == 1

    await door.receives(door.login.token(door.claims()))
    assert door.login.key_requests == 1


@pytest.mark.parametrize("what", ["the document", "the keys"])
async def test_a_redirection_is_not_followed(door: Door, what: str, caplog: pytest.LogCaptureFixture) -> None:
    async with BotFrameworkLogin() as stranger:
        stranger.keys = [door.login.key]
        door.login.keys = []
        door.login.redirected = (
            {"/v1/.well-known/openidconfiguration": stranger.metadata_url}
            if what == "the document"
            else {"/keys": stranger.keys_url}
        )

        await door.cannot_tell(door.login.token(door.claims()))

        assert stranger.document_requests + stranger.key_requests == 0
    assert "HTTP 302" in caplog.text


async def test_the_log_quotes_nothing_that_the_server_says(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    door.login.broken = True

    await door.cannot_tell(door.login.token(door.claims()))

    assert "HTTP 500" in caplog.text
    assert "What a server says" not in caplog.text
