from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botbuilder.schema import Activity
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.bot.activity import parse_activity
from app.bot.authentication import Authenticator, Claims, Unauthenticated
from app.bot.http_session import HttpSession
from app.bot.identity import BotIdentity, addresses_of
from app.bot.service_url import ServiceUrls, UntrustedServiceUrl
from app.bot.signing_keys import KEPT_FOR
from app.config import BotAppType, BotCloud
from tests.fakes.bot_framework_login import BotFrameworkLogin, Key

APP = "c9e8c047-2a34-40a1-b28a-b162d5f5327c"
TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
OTHER_TENANT = "11111111-2222-3333-4444-555555555555"
SERVICE_URL = "https://smba.trafficmanager.net/emea/"
NOW = 1_800_000_000.0


@dataclass
class Door:
    """What a caller of the bot meets, with a login service and a clock of its own."""

    login: BotFrameworkLogin
    sign_in: BotFrameworkLogin
    authenticator: Authenticator
    cloud: BotCloud
    clock: list[float] = field(default_factory=list)

    def claims(self, **changes: Any) -> dict[str, Any]:
        issuer = addresses_of(self.cloud).channel_issuer
        claims = {"iss": issuer, "aud": APP, "serviceurl": SERVICE_URL, "nbf": NOW - 60, "exp": NOW + 3600}
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def own_claims(self, **changes: Any) -> dict[str, Any]:
        issuer = "https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/"
        return self.claims(**({"iss": issuer, "ver": "1.0", "appid": APP, "serviceurl": None} | changes))

    async def receives(self, token: str | None, activity: Activity | None = None) -> Claims:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self.authenticator.authenticate(activity or an_activity(), headers)

    async def refuses(self, token: str | None, activity: Activity | None = None) -> str:
        with pytest.raises(Unauthenticated) as caught:
            await self.receives(token, activity)
        if token:
            assert token not in str(caught.value)
        return caught.value.reason


@asynccontextmanager
async def a_door(app_type: BotAppType = "SingleTenant", cloud: BotCloud = "public") -> AsyncIterator[Door]:
    identity = BotIdentity(APP, app_type, None if app_type == "MultiTenant" else TENANT, SecretStr("s3cret"), cloud)
    session, clock = HttpSession(), [0.0]
    async with BotFrameworkLogin() as login, BotFrameworkLogin() as sign_in:
        authenticator = Authenticator(
            identity,
            session,
            channel_metadata_url=login.metadata_url,
            login_metadata_url=sign_in.metadata_url,
            now=lambda: NOW,
            clock=lambda: clock[0],
        )
        yield Door(login, sign_in, authenticator, cloud, clock)
        await authenticator.close()
        await session.close()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with a_door() as opened:
        yield opened


def an_activity(*, tenant: str | None = TENANT, **changes: Any) -> Activity:
    fields: dict[str, Any] = {"type": "message", "channelId": "msteams", "serviceUrl": SERVICE_URL}
    if tenant:
        fields |= {"channelData": {"tenant": {"id": tenant}}, "conversation": {"id": "a:1", "tenantId": tenant}}
    fields |= changes
    return parse_activity(json.dumps({name: value for name, value in fields.items() if value is not None}).encode())


def encoded(part: bytes | dict[str, Any]) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for happens in a task of the code under test
            await asyncio.sleep(0.005)


async def test_a_token_of_the_bot_framework_is_accepted(door: Door) -> None:
    assert (await door.receives(door.login.token(door.claims())))["aud"] == APP


async def test_ids_may_be_written_in_either_case(door: Door) -> None:
    await door.receives(door.login.token(door.claims(aud=APP.upper())), an_activity(tenant=TENANT.upper()))


async def test_the_keys_are_fetched_once_for_many_messages(door: Door) -> None:
    token = door.login.token(door.claims())

    await asyncio.gather(*(door.receives(token) for _ in range(20)))

    assert (door.login.document_requests, door.login.key_requests) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "another-app"}, "the token is for another audience"),
        ({"aud": [APP]}, "the token is for another audience"),
        ({"aud": None}, "the token is for another audience"),
        ({"iss": "https://evil.example"}, "the issuer is not one of the Bot Framework's"),
        ({"iss": "https://api.botframework.us"}, "the issuer is not one of the Bot Framework's"),
        ({"iss": None}, "the token names no key or no issuer"),
        ({"serviceurl": "https://smba.trafficmanager.net/amer/"}, "the token is for another serviceUrl"),
        ({"serviceurl": None}, "the token is for another serviceUrl"),
        ({"exp": NOW - 301}, "the token has expired"),
        ({"exp": None}, "the token does not say how long it is valid"),
        ({"exp": "tomorrow"}, "the token does not say how long it is valid"),
        ({"nbf": NOW + 301}, "the token is not valid yet"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(door: Door, changes: dict[str, Any], reason: str) -> None:
    assert await door.refuses(door.login.token(door.claims(**changes))) == reason


async def test_a_clock_that_is_four_minutes_off_is_borne(door: Door) -> None:
    await door.receives(door.login.token(door.claims(exp=NOW - 240)))
    await door.receives(door.login.token(door.claims(nbf=NOW + 240)))


async def test_a_missing_header_is_refused(door: Door) -> None:
    assert await door.refuses(None) == "there is no Authorization header"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b c", "Bearer " + "x" * 20_000])
async def test_a_header_without_a_token_is_refused(door: Door, header: str) -> None:
    with pytest.raises(Unauthenticated):
        await door.authenticator.authenticate(an_activity(), {"authorization": header})


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "..", "\x00", "é.é.é", "eyJhbGciOiJSUzI1NiJ9.e30.AA"])
async def test_garbage_is_refused(door: Door, token: str) -> None:
    await door.refuses(token)


async def test_an_unsigned_token_is_refused(door: Door) -> None:
    token = ".".join([encoded({"alg": "none", "kid": door.login.key.id}), encoded(door.claims()), ""])

    assert await door.refuses(token) == "the token is not signed with RS256"


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(door: Door) -> None:
    public = door.login.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = ".".join([encoded({"alg": "HS256", "kid": door.login.key.id}), encoded(door.claims())])
    token = f"{signed}.{encoded(hmac.new(public, signed.encode(), 'sha256').digest())}"

    assert await door.refuses(token) == "the token is not signed with RS256"


async def test_a_token_signed_by_another_key_under_a_known_name_is_refused(door: Door) -> None:
    stranger = door.login.new_key()
    token = door.login.token(door.claims(), key=Key(door.login.key.id, stranger.private))

    assert await door.refuses(token) == "the signature does not fit the key"


async def test_a_token_that_was_changed_on_the_way_is_refused(door: Door) -> None:
    header, _, signature = door.login.token(door.claims(aud="another-app")).split(".")

    assert await door.refuses(f"{header}.{encoded(door.claims())}.{signature}") == "the signature does not fit the key"


async def test_an_unknown_key_is_refused(door: Door) -> None:
    assert (
        await door.refuses(door.login.token(door.claims(), key=door.login.new_key())) == "the signing key is not known"
    )


async def test_a_key_that_is_not_endorsed_for_the_channel_is_refused(door: Door) -> None:
    door.login.keys = [door.login.new_key(endorsements=["webchat"])]
    token = door.login.token(door.claims(), key=door.login.keys[0])

    assert await door.refuses(token) == "the signing key is not endorsed for the channel"


async def test_a_key_without_endorsements_speaks_for_no_channel(door: Door) -> None:
    door.login.keys = [door.login.new_key(endorsements=[])]

    await door.refuses(door.login.token(door.claims(), key=door.login.keys[0]))


async def test_a_channel_named_with_its_product_needs_the_endorsement_of_the_channel(door: Door) -> None:
    await door.receives(door.login.token(door.claims()), an_activity(channelId="msteams:COPILOT"))
    await door.refuses(door.login.token(door.claims()), an_activity(channelId="slack:msteams"))


async def test_an_activity_without_a_channel_is_refused(door: Door) -> None:
    assert (
        await door.refuses(door.login.token(door.claims()), an_activity(channelId=None))
        == "the activity names no channel"
    )


async def test_an_activity_without_a_service_url_is_refused(door: Door) -> None:
    token = door.login.token(door.claims(serviceurl=None))

    assert await door.refuses(token, an_activity(serviceUrl=None)) == "there is no serviceUrl"
    assert await door.refuses(token, an_activity(serviceUrl="")) == "there is no serviceUrl"


async def test_a_service_url_outside_the_bot_framework_is_refused_even_with_a_token_for_it(door: Door) -> None:
    for url in ("https://evil.example/", "http://127.0.0.1:80/"):
        reason = await door.refuses(door.login.token(door.claims(serviceurl=url)), an_activity(serviceUrl=url))
        assert reason.startswith("the serviceUrl is not")
        assert url not in reason


# --- Tenants


async def test_an_activity_of_another_tenant_is_refused(door: Door) -> None:
    token = door.login.token(door.claims())

    assert await door.refuses(token, an_activity(tenant=OTHER_TENANT)) == "the activity is from another tenant"


async def test_an_activity_that_names_two_tenants_is_refused(door: Door) -> None:
    activity = an_activity(conversation={"id": "a:1", "tenantId": OTHER_TENANT})

    assert await door.refuses(door.login.token(door.claims()), activity) == "the activity is from another tenant"


async def test_an_activity_of_teams_without_a_tenant_is_refused(door: Door) -> None:
    token = door.login.token(door.claims())

    assert await door.refuses(token, an_activity(tenant=None)) == "the activity names no tenant"


async def test_channels_that_know_no_tenants_need_name_none(door: Door) -> None:
    await door.receives(door.login.token(door.claims()), an_activity(tenant=None, channelId="webchat"))


async def test_a_bot_with_a_managed_identity_serves_its_own_tenant_only() -> None:
    async with a_door("UserAssignedMSI") as door:
        await door.receives(door.login.token(door.claims()))
        await door.refuses(door.login.token(door.claims()), an_activity(tenant=OTHER_TENANT))


async def test_a_multi_tenant_bot_serves_every_tenant() -> None:
    async with a_door("MultiTenant") as door:
        await door.receives(door.login.token(door.claims()), an_activity(tenant=OTHER_TENANT))


# --- Government clouds


@pytest.mark.parametrize(
    ("cloud", "host"),
    [("gcc-high", "smba.infra.gov.teams.microsoft.us"), ("dod", "smba.infra.dod.teams.microsoft.us")],
)
async def test_a_government_cloud_has_its_own_issuer_and_hosts(cloud: BotCloud, host: str) -> None:
    url = f"https://{host}/teams/"
    async with a_door(cloud=cloud) as door:
        await door.receives(door.login.token(door.claims(serviceurl=url)), an_activity(serviceUrl=url))
        await door.refuses(door.login.token(door.claims()))
        public = door.claims(iss="https://api.botframework.com", serviceurl=url)
        reason = await door.refuses(door.login.token(public), an_activity(serviceUrl=url))
        assert reason == "the issuer is not one of the Bot Framework's"


# --- The Emulator, which signs in as the bot itself


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"iss": f"https://sts.windows.net/{TENANT}/"},
        {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "ver": "2.0", "azp": APP, "appid": None},
    ],
    ids=["Bot Framework's tenant", "own tenant, version 1", "own tenant, version 2"],
)
async def test_a_token_that_the_bot_itself_was_given_is_accepted(door: Door, changes: dict[str, Any]) -> None:
    door.sign_in.keys = [door.sign_in.new_key(endorsements=[])]

    await door.receives(door.sign_in.token(door.own_claims(**changes), key=door.sign_in.keys[0]))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"appid": "another-app"}, "the token was issued to another app"),
        ({"appid": None}, "the token was issued to another app"),
        ({"ver": None}, "the token was issued to another app"),
        ({"ver": "2.0", "azp": "another-app"}, "the token was issued to another app"),
        ({"ver": ["1.0"]}, "the token was issued to another app"),
        # The bot's own token for the connector or for Databricks: whoever received it must not be able to use it here.
        ({"aud": "https://api.botframework.com"}, "the token is for another audience"),
        ({"iss": f"https://sts.windows.net/{OTHER_TENANT}/"}, "the issuer is not one of the Bot Framework's"),
    ],
)
async def test_a_token_of_another_app_is_refused(door: Door, changes: dict[str, Any], reason: str) -> None:
    assert await door.refuses(door.sign_in.token(door.own_claims(**changes))) == reason


async def test_the_tenant_of_another_bot_is_no_issuer_for_a_multi_tenant_bot() -> None:
    async with a_door("MultiTenant") as door:
        await door.refuses(door.sign_in.token(door.own_claims(iss=f"https://sts.windows.net/{TENANT}/")))


async def test_the_keys_of_the_channels_do_not_sign_tokens_of_the_emulator_nor_the_other_way_round(door: Door) -> None:
    assert await door.refuses(door.login.token(door.own_claims())) == "the signing key is not known"
    assert await door.refuses(door.sign_in.token(door.claims())) == "the signing key is not known"


async def test_a_key_that_belongs_to_another_issuer_does_not_sign_for_this_one(door: Door) -> None:
    consumers = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"
    everybody = "https://login.microsoftonline.com/{tenantid}/v2.0"
    consumer_key, common_key = door.sign_in.new_key(issuer=consumers), door.sign_in.new_key(issuer=everybody)
    door.sign_in.keys = [consumer_key, common_key]

    await door.receives(door.sign_in.token(door.own_claims(), key=common_key))
    reason = await door.refuses(door.sign_in.token(door.own_claims(), key=consumer_key))
    assert reason == "the signing key belongs to another issuer"


# --- Keys that change


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
    await door.refuses(door.login.token(door.claims(serviceurl="https://webchat.botframework.com/")))

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


async def test_no_keys_at_all_refuses_and_tries_again_a_little_later(door: Door) -> None:
    door.login.broken = True
    token = door.login.token(door.claims())
    assert await door.refuses(token) == "the signing keys could not be fetched"
    asked = door.login.document_requests
    assert await door.refuses(token) == "the signing keys could not be fetched"
    assert door.login.document_requests == asked

    door.login.broken = False
    door.clock[0] += 5
    await door.receives(token)


@pytest.mark.parametrize("document", [{}, {"jwks_uri": "gopher://x"}, {"jwks_uri": "file:///etc/passwd"}, [], "x"])
async def test_an_openid_document_that_is_none_is_no_fault(door: Door, document: Any) -> None:
    door.login.document = document

    assert await door.refuses(door.login.token(door.claims())) == "the signing keys could not be fetched"


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


async def test_nothing_of_a_token_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        token = door.login.token(door.claims(), key=door.login.new_key())
        await door.refuses(token)

    assert token[:40] not in caplog.text


PART = st.binary(max_size=40).map(encoded)
JSON_PART = st.dictionaries(
    st.sampled_from(["alg", "kid", "iss", "aud", "exp", "nbf", "typ", "crit", "b64", "sub", "jti", "iat"]),
    st.sampled_from(["RS256", "none", APP, "https://api.botframework.com", 1, 10**400, 1e300, None, [], {}, True]),
).map(encoded)


@given(st.text(max_size=60) | st.tuples(JSON_PART | PART, JSON_PART | PART, PART).map(".".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_token_raises_anything_but_unauthenticated(token: str) -> None:
    async def try_it() -> None:
        authenticator = Authenticator(
            BotIdentity(APP, "MultiTenant"),
            HttpSession(),
            channel_metadata_url="http://127.0.0.1:9/",
            login_metadata_url="http://127.0.0.1:9/",
        )
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(an_activity(), {"authorization": f"Bearer {token}"})

    asyncio.run(try_it())


# --- Which service URLs may be called back

HOSTS = {
    "public": [
        "https://smba.trafficmanager.net/emea/",
        "https://smba.trafficmanager.net:443/teams/",
        "https://SMBA.trafficmanager.net/teams",
        "https://smba.onyx.prod.teams.trafficmanager.net/",
        "https://smba.infra.gcc.teams.microsoft.com/gcc/",
        "https://webchat.botframework.com/",
        "https://directline.botframework.com",
        "https://europe.webchat.botframework.com/",
    ],
    "gcc-high": ["https://smba.infra.gov.teams.microsoft.us/gcch/", "https://directline.botframework.azure.us/"],
    "dod": ["https://smba.infra.dod.teams.microsoft.us/dod/", "https://webchat.botframework.azure.us/"],
}
CLOUDS: list[BotCloud] = ["public", "gcc-high", "dod"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_cloud_trusts_its_own_hosts_and_none_of_the_others(cloud: BotCloud) -> None:
    service_urls = ServiceUrls(BotIdentity(APP, cloud=cloud))
    for url in HOSTS[cloud]:
        assert service_urls.check(url) == url
    shared = {"gcc-high": HOSTS["dod"][1:], "dod": HOSTS["gcc-high"][1:], "public": []}[cloud]
    for url in (url for other in CLOUDS if other != cloud for url in HOSTS[other] if url not in shared):
        with pytest.raises(UntrustedServiceUrl):
            service_urls.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://smba.trafficmanager.net/emea/",
        "https://evil-botframework.com/",
        "https://botframework.com.evil.example/",
        "https://evil.trafficmanager.net/",
        "https://smba.trafficmanager.net.evil.example/",
        "https://smba.trafficmanager.net@evil.example/",
        "https://user:password@smba.trafficmanager.net/",
        "https://evil.example\\@smba.trafficmanager.net/",
        "https://evil.example#@smba.trafficmanager.net/",
        "https://evil.example?.botframework.com/",
        "https://smba.trafficmanager.net:8443/",
        "https://smba.trafficmanager.net:443@evil.example/",
        "https://smba.trafficmanager.net:/",
        "https://smba.trafficmanager.net./",
        "https://smba.trafficmanager.net/?x=1",
        "https://smba.trafficmanager.net/\r\nHost: evil.example",
        " https://smba.trafficmanager.net/",
        "https://smba.trafficmanager.net/ ",
        "https:/smba.trafficmanager.net/",
        "//smba.trafficmanager.net/",
        "https://botframework。com/",
        "https://ѕmba.trafficmanager.net/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://localhost/",
        "https://.botframework.com.evil.example/",
        "https://smba.trafficmanager.net/" + "a" * 3000,
        "file:///etc/passwd",
        "",
        None,
        5,
    ],
)
def test_nothing_that_only_looks_like_the_bot_framework_is_trusted(url: object) -> None:
    with pytest.raises(UntrustedServiceUrl):
        ServiceUrls(BotIdentity(APP)).check(url)


# --- Without an app id: this machine only

LOOPBACK_URL = "http://localhost:56150/_connector"
LOCAL = {"Host": "localhost:7071"}


async def local(headers: dict[str, str], address: str | None = "127.0.0.1", service_url: str = LOOPBACK_URL) -> Claims:
    authenticator = Authenticator(BotIdentity(), HttpSession())
    return await authenticator.authenticate(an_activity(tenant=None, serviceUrl=service_url), headers, address)


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
    with pytest.raises(Unauthenticated):
        await local(LOCAL, service_url=url)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.1:50123", "::1", "[::1]:50123", "::ffff:127.0.0.1", "localhost"]
)
@pytest.mark.parametrize("host", ["localhost:7071", "LOCALHOST", "127.0.0.1:7071", "[::1]:7071", "127.8.8.8"])
async def test_this_machine_goes_by_many_names(address: str, host: str) -> None:
    await local({"host": host}, address)


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.7:4242", "2001:db8::1", "[2001:db8::1]:80", "", "x"])
async def test_without_an_app_id_another_machine_is_refused(address: str) -> None:
    with pytest.raises(Unauthenticated):
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
async def test_whoever_comes_from_elsewhere_through_this_machine_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        await local(headers)
    with pytest.raises(Unauthenticated):
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


async def test_where_the_host_does_not_tell_the_address_the_host_header_has_to() -> None:
    assert await local(LOCAL, None) == {}
    with pytest.raises(Unauthenticated, match="nothing says where the caller is"):
        await local({}, None)
    assert await local({}, "127.0.0.1") == {}


async def test_a_secret_is_in_no_text_of_the_identity() -> None:
    assert "s3cret" not in repr(BotIdentity(APP, "SingleTenant", TENANT, SecretStr("s3cret")))
