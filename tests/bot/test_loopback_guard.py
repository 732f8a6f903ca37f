from __future__ import annotations

import pytest

from app.access_tokens.access_token import Claims, UnauthenticatedError
from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity
from app.common.http_session import HttpSession
from tests.fakes.auth_setup import an_activity, received

LOOPBACK_URL = "http://localhost:56150/_connector"
LOCAL = {"Host": "localhost:7071"}


async def local(headers: dict[str, str], address: str | None = "127.0.0.1", service_url: str = LOOPBACK_URL) -> Claims:
    authenticator = Authenticator(BotIdentity(), HttpSession())
    return await received(authenticator, an_activity(tenant=None, serviceUrl=service_url), headers, address)


@pytest.mark.parametrize("url", [LOOPBACK_URL, "http://127.0.0.1:9000/", "http://127.1.2.3/", "http://[::1]:80/x"])
async def test_without_an_app_id_this_machine_needs_no_token(url: str) -> None:
    assert await local(LOCAL, service_url=url) == {}


@pytest.mark.parametrize(
    "url",
    [
        "https://smba.trafficmanager.net/emea/",
        "http://10.0.0.1/",
        "http://localhost.evil.example/",
        "http://2130706433/",
    ],
)
async def test_without_an_app_id_nothing_beyond_this_machine_is_called(url: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await local(LOCAL, service_url=url)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.1:50123", "::1", "[::1]:50123", "::ffff:127.0.0.1", "localhost"]
)
@pytest.mark.parametrize("host", ["localhost:7071", "LOCALHOST", "127.0.0.1:7071", "[::1]:7071", "127.8.8.8"])
async def test_all_names_of_this_machine_are_accepted(address: str, host: str) -> None:
    await local({"host": host}, address)


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.7:4242", "2001:db8::1", "[2001:db8::1]:80", "", "x"])
async def test_without_an_app_id_another_machine_is_refused(address: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await local(LOCAL, address)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:7071"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.nip.io"},
        {"Host": "127.0.0.1@evil.example"},
        {**LOCAL, "Origin": "https://evil.example"},
        {**LOCAL, "Origin": "null"},
        {**LOCAL, "Origin": "http://["},
        {**LOCAL, "X-Forwarded-For": "203.0.113.9"},
        {**LOCAL, "X-Forwarded-For": "127.0.0.1, 203.0.113.9"},
        {**LOCAL, "X-Forwarded-For": ""},
        {**LOCAL, "X-Forwarded-Host": "abc.devtunnels.ms"},
        {**LOCAL, "Forwarded": "for=203.0.113.9;host=localhost"},
        {**LOCAL, "Forwarded": 'for="[2001:db8::1]:80"'},
        {**LOCAL, "Forwarded": "proto=https"},
    ],
)
async def test_a_call_that_was_forwarded_from_elsewhere_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UnauthenticatedError):
        await local(headers)
    with pytest.raises(UnauthenticatedError):
        await local(headers, None)


@pytest.mark.parametrize(
    "headers",
    [
        {**LOCAL, "Origin": "http://localhost:56150"},
        {**LOCAL, "X-Forwarded-For": "127.0.0.1:5000, ::1"},
        {**LOCAL, "Forwarded": 'for="[::1]:80";host=localhost:7071;proto=http'},
    ],
)
async def test_a_local_page_or_proxy_may_call(headers: dict[str, str]) -> None:
    assert await local(headers) == {}


async def test_without_a_client_address_the_host_header_decides() -> None:
    assert await local(LOCAL, None) == {}
    with pytest.raises(UnauthenticatedError, match="nothing says where the caller is"):
        await local({}, None)
    assert await local({}, "127.0.0.1") == {}
