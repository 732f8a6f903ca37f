from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.access_tokens.access_token import UnauthenticatedError
from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity
from app.common.http_session import HttpSession
from app.settings.bot_settings import BotCloud
from tests.fakes.auth_setup import APP, NOW, OTHER_TENANT, TENANT, AuthSetup, an_activity, an_authenticator
from tests.fakes.bot_framework_login import Key


@pytest.fixture
async def auth() -> AsyncIterator[AuthSetup]:
    async with an_authenticator() as opened:
        yield opened


def encoded(part: bytes | dict[str, Any]) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


async def test_a_token_of_the_bot_framework_is_accepted(auth: AuthSetup) -> None:
    assert (await auth.receives(auth.login.token(auth.claims())))["aud"] == APP


async def test_ids_may_be_written_in_either_case(auth: AuthSetup) -> None:
    await auth.receives(auth.login.token(auth.claims(aud=APP.upper())), an_activity(tenant=TENANT.upper()))


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
        ({"serviceurl": "https://evil.example/"}, "the serviceUrl is not a host of the Bot Framework in this cloud"),
        ({"serviceurl": None}, "there is no serviceUrl"),
        ({"scp": "user_impersonation"}, "the token was issued for a person, not for an app"),
        ({"scp": ""}, "the token was issued for a person, not for an app"),
        ({"exp": NOW - 301}, "the token has expired"),
        ({"exp": None}, "the token does not say how long it is valid"),
        ({"exp": "tomorrow"}, "the token does not say how long it is valid"),
        ({"nbf": NOW + 301}, "the token is not valid yet"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(auth: AuthSetup, changes: dict[str, Any], reason: str) -> None:
    assert await auth.refuses(auth.login.token(auth.claims(**changes))) == reason


async def test_a_clock_that_is_four_minutes_off_is_accepted(auth: AuthSetup) -> None:
    await auth.receives(auth.login.token(auth.claims(exp=NOW - 240)))
    await auth.receives(auth.login.token(auth.claims(nbf=NOW + 240)))


async def test_a_missing_header_is_refused(auth: AuthSetup) -> None:
    assert await auth.refuses(None) == "there is no Authorization header"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b c", "Bearer " + "x" * 20_000])
async def test_a_header_without_a_token_is_refused(auth: AuthSetup, header: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await auth.authenticator.authenticate({"authorization": header})


async def test_a_token_that_is_too_long_is_refused_unread(auth: AuthSetup) -> None:
    assert await auth.refuses(auth.login.token(auth.claims(more="x" * 20_000))) == "the token is too long"


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "..", "\x00", "é.é.é", "eyJhbGciOiJSUzI1NiJ9.e30.AA"])
async def test_garbage_is_refused(auth: AuthSetup, token: str) -> None:
    await auth.refuses(token)


async def test_an_unsigned_token_is_refused(auth: AuthSetup) -> None:
    token = ".".join([encoded({"alg": "none", "kid": auth.login.key.id}), encoded(auth.claims()), ""])

    assert await auth.refuses(token) == "the token is not signed with RS256"


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(auth: AuthSetup) -> None:
    public = auth.login.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = ".".join([encoded({"alg": "HS256", "kid": auth.login.key.id}), encoded(auth.claims())])
    token = f"{signed}.{encoded(hmac.new(public, signed.encode(), 'sha256').digest())}"

    assert await auth.refuses(token) == "the token is not signed with RS256"


async def test_a_token_signed_by_another_key_under_a_known_name_is_refused(auth: AuthSetup) -> None:
    stranger = auth.login.new_key()
    token = auth.login.token(auth.claims(), key=Key(auth.login.key.id, stranger.private))

    assert await auth.refuses(token) == "the signature does not fit the key"


async def test_a_token_that_was_changed_on_the_way_is_refused(auth: AuthSetup) -> None:
    header, _, signature = auth.login.token(auth.claims(aud="another-app")).split(".")

    assert await auth.refuses(f"{header}.{encoded(auth.claims())}.{signature}") == "the signature does not fit the key"


async def test_an_unknown_key_is_refused(auth: AuthSetup) -> None:
    assert (
        await auth.refuses(auth.login.token(auth.claims(), key=auth.login.new_key())) == "the signing key is not known"
    )


async def test_a_key_that_is_not_endorsed_for_the_channel_is_refused(auth: AuthSetup) -> None:
    auth.login.keys = [auth.login.new_key(endorsements=["webchat"])]
    token = auth.login.token(auth.claims(), key=auth.login.keys[0])

    assert await auth.refuses(token) == "the signing key is not endorsed for the channel"


async def test_a_key_without_endorsements_speaks_for_no_channel(auth: AuthSetup) -> None:
    auth.login.keys = [auth.login.new_key(endorsements=[])]

    await auth.refuses(auth.login.token(auth.claims(), key=auth.login.keys[0]))


async def test_a_channel_named_with_its_product_needs_the_endorsement_of_the_channel(auth: AuthSetup) -> None:
    await auth.receives(auth.login.token(auth.claims()), an_activity(channelId="msteams:COPILOT"))
    await auth.refuses(auth.login.token(auth.claims()), an_activity(channelId="slack:msteams"))


async def test_an_activity_without_a_channel_is_refused(auth: AuthSetup) -> None:
    assert (
        await auth.refuses(auth.login.token(auth.claims()), an_activity(channelId=None))
        == "the activity names no channel"
    )


async def test_an_activity_without_a_service_url_is_refused(auth: AuthSetup) -> None:
    token = auth.login.token(auth.claims())

    assert await auth.refuses(token, an_activity(serviceUrl=None)) == "there is no serviceUrl"
    assert await auth.refuses(token, an_activity(serviceUrl="")) == "there is no serviceUrl"


async def test_a_service_url_outside_the_bot_framework_is_refused_even_with_a_token_for_it(auth: AuthSetup) -> None:
    for url in ("https://evil.example/", "http://127.0.0.1:80/"):
        reason = await auth.refuses(auth.login.token(auth.claims(serviceurl=url)), an_activity(serviceUrl=url))
        assert reason.startswith("the serviceUrl is not")
        assert url not in reason


# --- Tenants


async def test_an_activity_of_another_tenant_is_refused(auth: AuthSetup) -> None:
    token = auth.login.token(auth.claims())

    assert await auth.refuses(token, an_activity(tenant=OTHER_TENANT)) == "the activity is from another tenant"


async def test_an_activity_that_names_two_tenants_is_refused(auth: AuthSetup) -> None:
    token, two = auth.login.token(auth.claims()), "the activity names more than one tenant"

    assert await auth.refuses(token, an_activity(conversation={"id": "a:1", "tenantId": OTHER_TENANT})) == two
    both = {"id": "a:1", "tenantID": TENANT, "tenantId": OTHER_TENANT}
    assert await auth.refuses(token, an_activity(conversation=both)) == two
    # One tenant's words must not be kept as another's, whomever the bot serves.
    async with an_authenticator("MultiTenant") as other:
        assert await other.refuses(other.login.token(other.claims()), an_activity(conversation=both)) == two


async def test_an_activity_of_teams_without_a_tenant_is_refused(auth: AuthSetup) -> None:
    token = auth.login.token(auth.claims())

    assert await auth.refuses(token, an_activity(tenant=None)) == "the activity names no tenant"


async def test_another_tenant_is_refused_on_every_channel(auth: AuthSetup) -> None:
    reason = await auth.refuses(auth.login.token(auth.claims()), an_activity(tenant=OTHER_TENANT, channelId="webchat"))
    assert reason == "the activity is from another tenant"


@pytest.mark.parametrize("channel", ["directline", "slack", "m365extensions", "MSTEAMS", "webchat2", "msteams-x"])
async def test_a_channel_that_is_not_on_the_list_may_not_call(auth: AuthSetup, channel: str) -> None:
    auth.login.keys = [auth.login.new_key(endorsements=[channel])]
    token = auth.login.token(auth.claims(), key=auth.login.keys[0])

    assert await auth.refuses(token, an_activity(channelId=channel)) == "the channel is not in BOT_CHANNELS"


async def test_only_teams_may_call_unless_a_setting_names_another_channel() -> None:
    assert BotIdentity(APP).allowed_channels == {"msteams"}


async def test_channels_that_know_no_tenants_need_name_none(auth: AuthSetup) -> None:
    await auth.receives(auth.login.token(auth.claims()), an_activity(tenant=None, channelId="webchat"))


async def test_a_bot_with_a_managed_identity_serves_its_own_tenant_only() -> None:
    async with an_authenticator("UserAssignedMSI") as auth:
        await auth.receives(auth.login.token(auth.claims()))
        await auth.refuses(auth.login.token(auth.claims()), an_activity(tenant=OTHER_TENANT))


async def test_a_multi_tenant_bot_serves_every_tenant() -> None:
    async with an_authenticator("MultiTenant") as auth:
        await auth.receives(auth.login.token(auth.claims()), an_activity(tenant=OTHER_TENANT))


# --- Government clouds


@pytest.mark.parametrize(
    ("cloud", "host"),
    [("gcc-high", "smba.infra.gov.teams.microsoft.us"), ("dod", "smba.infra.dod.teams.microsoft.us")],
)
async def test_a_government_cloud_has_its_own_issuer_and_hosts(cloud: BotCloud, host: str) -> None:
    url = f"https://{host}/teams/"
    async with an_authenticator(cloud=cloud) as auth:
        await auth.receives(auth.login.token(auth.claims(serviceurl=url)), an_activity(serviceUrl=url))
        await auth.refuses(auth.login.token(auth.claims()))
        public = auth.claims(iss="https://api.botframework.com", serviceurl=url)
        reason = await auth.refuses(auth.login.token(public), an_activity(serviceUrl=url))
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
async def test_a_token_that_the_bot_itself_was_given_is_accepted(auth: AuthSetup, changes: dict[str, Any]) -> None:
    auth.sign_in.keys = [auth.sign_in.new_key(endorsements=[])]

    await auth.receives(auth.sign_in.token(auth.own_claims(**changes), key=auth.sign_in.keys[0]))


async def test_where_the_emulator_is_not_accepted_its_issuers_are_strangers() -> None:
    async with an_authenticator(accepts_emulator=False) as auth:
        assert await auth.refuses(auth.sign_in.token(auth.own_claims())) == (
            "the issuer is not one of the Bot Framework's"
        )
        assert auth.sign_in.document_requests == 0
        token = auth.login.token(auth.claims())
        assert await auth.refuses(token, an_activity(channelId="emulator")) == "the channel is not in BOT_CHANNELS"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scp": "access_as_user"}, "the token was issued for a person, not for an app"),
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
async def test_a_token_of_another_app_is_refused(auth: AuthSetup, changes: dict[str, Any], reason: str) -> None:
    assert await auth.refuses(auth.sign_in.token(auth.own_claims(**changes))) == reason


async def test_the_tenant_of_another_bot_is_no_issuer_for_a_multi_tenant_bot() -> None:
    async with an_authenticator("MultiTenant") as auth:
        await auth.refuses(auth.sign_in.token(auth.own_claims(iss=f"https://sts.windows.net/{TENANT}/")))


async def test_keys_of_the_channels_sign_no_tokens_of_the_emulator_nor_the_other_way_round(
    auth: AuthSetup,
) -> None:
    assert await auth.refuses(auth.login.token(auth.own_claims())) == "the signing key is not known"
    assert await auth.refuses(auth.sign_in.token(auth.claims())) == "the signing key is not known"


async def test_a_key_that_belongs_to_another_issuer_does_not_sign_for_this_one(auth: AuthSetup) -> None:
    consumers = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"
    everybody = "https://login.microsoftonline.com/{tenantid}/v2.0"
    consumer_key, common_key = auth.sign_in.new_key(issuer=consumers), auth.sign_in.new_key(issuer=everybody)
    auth.sign_in.keys = [consumer_key, common_key]

    await auth.receives(auth.sign_in.token(auth.own_claims(), key=common_key))
    reason = await auth.refuses(auth.sign_in.token(auth.own_claims(), key=consumer_key))
    assert reason == "the signing key belongs to another issuer"


async def test_nothing_of_a_token_is_logged(auth: AuthSetup, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        token = auth.login.token(auth.claims(), key=auth.login.new_key())
        await auth.refuses(token)

    assert token[:40] not in caplog.text


PART = st.binary(max_size=40).map(encoded)
JSON_PART = st.dictionaries(
    st.sampled_from(["alg", "kid", "iss", "aud", "exp", "nbf", "typ", "crit", "b64", "sub", "jti", "iat"]),
    st.sampled_from(["RS256", "none", APP, "https://api.botframework.com", 1, 10**400, 1e300, None, [], {}, True]),
).map(encoded)


@given(st.text(max_size=60) | st.tuples(JSON_PART | PART, JSON_PART | PART, PART).map(".".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_token_raises_anything_but_unauthenticated(token: str) -> None:
    async def try_it() -> None:
        authenticator = Authenticator(
            BotIdentity(APP, "MultiTenant"),
            HttpSession(),
            channel_metadata_url="http://127.0.0.1:9/",
            login_metadata_url="http://127.0.0.1:9/",
        )
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate({"authorization": f"Bearer {token}"})

    asyncio.run(try_it())


async def test_a_secret_is_in_no_text_of_the_identity() -> None:
    assert "s3cret" not in repr(BotIdentity(APP, "SingleTenant", TENANT, SecretStr("s3cret")))
