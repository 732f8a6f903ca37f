from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from app.common.renewing_token import IssuedToken, RenewingToken


class Issuer:
    """Gives out token-1, token-2, … or fails; its clock moves when a test says so."""

    def __init__(self, lifetime_seconds: float = 3600) -> None:
        self.now = 0.0
        self.lifetime_seconds = lifetime_seconds
        self.asked = 0
        self.failure: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.token = RenewingToken("The token", self._issue, clock=lambda: self.now)

    async def _issue(self) -> IssuedToken:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure
        return IssuedToken(SecretStr(f"token-{self.asked}"), self.lifetime_seconds)

    async def settled(self) -> str:
        """The token that is given out once a renewal in the background has ended."""
        await self.token.get()
        for _ in range(5):
            await asyncio.sleep(0)
        return await self.token.get()


@pytest.mark.parametrize(
    ("lifetime_seconds", "now", "token"),
    [
        (3600, 3299, "token-1"),
        (3600, 3300, "token-2"),
        (200, 99, "token-1"),
        (200, 100, "token-2"),
        (60, 29, "token-1"),
        (60, 30, "token-2"),
    ],
)
async def test_a_token_is_renewed_five_minutes_before_it_expires_or_at_half_time(
    lifetime_seconds: float, now: float, token: str
) -> None:
    issuer = Issuer(lifetime_seconds)
    await issuer.token.get()
    issuer.now = now
    assert await issuer.settled() == token


async def test_nobody_waits_for_a_renewal_while_the_present_token_works() -> None:
    issuer = Issuer()
    await issuer.token.get()
    issuer.hold, issuer.now = asyncio.Event(), 3400
    assert [await issuer.token.get() for _ in range(3)] == ["token-1"] * 3
    issuer.hold.set()
    assert await issuer.settled() == "token-2"
    assert issuer.asked == 2


async def test_a_token_about_to_expire_is_not_given_out() -> None:
    issuer = Issuer()
    await issuer.token.get()
    issuer.now = 3571
    assert await issuer.token.get() == "token-2"


async def test_a_renewal_that_fails_is_tried_again_after_a_pause_and_said_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer()
    await issuer.token.get()
    issuer.failure, issuer.now = ConnectionError("no answer"), 3400
    assert [await issuer.settled() for _ in range(5)] == ["token-1"] * 5
    assert issuer.asked == 2
    assert caplog.text.count("The token could not be renewed in time: no answer") == 1
    issuer.failure, issuer.now = None, 3410
    assert await issuer.settled() == "token-3"


async def test_without_a_token_that_works_the_failure_reaches_the_caller_and_the_next_one_asks_again() -> None:
    issuer = Issuer()
    issuer.failure = ConnectionError("no answer")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await issuer.token.get()
    issuer.failure = None
    assert await issuer.token.get() == "token-3"


async def test_many_who_wait_cause_one_fetch_and_one_who_leaves_does_not_end_it() -> None:
    issuer = Issuer()
    issuer.hold = asyncio.Event()
    waiting = [asyncio.create_task(issuer.token.get()) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    issuer.hold.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert set(results[1:]) == {"token-1"}
    assert issuer.asked == 1


async def test_a_refused_token_is_not_given_out_again_and_a_newer_one_is_kept() -> None:
    issuer = Issuer()
    await issuer.token.get()
    assert issuer.token.forget("token-1") is True
    assert await issuer.token.get() == "token-2"
    assert issuer.token.forget("token-1") is False
    assert await issuer.token.get() == "token-2"


async def test_closing_ends_a_fetch() -> None:
    issuer = Issuer()
    issuer.hold = asyncio.Event()
    waiting = asyncio.create_task(issuer.token.get())
    await asyncio.sleep(0)
    await issuer.token.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
