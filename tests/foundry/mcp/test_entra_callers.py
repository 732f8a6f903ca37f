from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.access_tokens.access_token import AuthenticationUnavailableError, UnauthenticatedError
from app.access_tokens.signing_keys import SigningKeys
from app.common.http_session import HttpSession
from app.foundry.mcp.entra_callers import AcceptedTokens, EntraCallers
from tests.fakes.bot_framework_login import BotFrameworkLogin

CLIENT = "5c9f2a10-1111-4222-8333-444455556666"
TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
PROJECT, PROJECTS_APP = "0b1c2d3e-1111-4222-8333-444455556666", "1b1c2d3e-1111-4222-8333-444455556666"
STRANGER = "2b1c2d3e-1111-4222-8333-444455556666"
ISSUERS = (f"https://sts.windows.net/{TENANT}/", f"https://login.microsoftonline.com/{TENANT}/v2.0")
NOW = 1_800_000_000.0


class Setup:
    def __init__(self, login: BotFrameworkLogin, callers: EntraCallers) -> None:
        self.login = login
        self.callers = callers

    async def authenticate(self, **changes: Any) -> None:
        await self.callers.authenticate(f"Bearer {self.login.token(claims(**changes))}")

    async def refuses(self, **changes: Any) -> str:
        with pytest.raises(UnauthenticatedError) as caught:
            await self.authenticate(**changes)
        return caught.value.reason


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    session = HttpSession()
    async with BotFrameworkLogin() as login:
        keys = SigningKeys(login.metadata_url, session)
        accepted = AcceptedTokens(f"api://{CLIENT}", frozenset({PROJECT, PROJECTS_APP}), TENANT, frozenset(ISSUERS))
        yield Setup(login, callers := EntraCallers(accepted, keys, now=lambda: NOW))
        await callers.close()
        await session.close()


def claims(**changes: Any) -> dict[str, Any]:
    """What the managed identity of a project brings."""
    given = {
        "aud": f"api://{CLIENT}",
        "iss": ISSUERS[0],
        "nbf": NOW - 60,
        "exp": NOW + 3600,
        "appid": PROJECTS_APP,
        "oid": PROJECT,
        "sub": PROJECT,
        "tid": TENANT,
        "ver": "1.0",
    }
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"oid": PROJECT.upper(), "appid": STRANGER, "idtyp": "app"},
        {"oid": STRANGER},
        {"aud": CLIENT, "iss": ISSUERS[1], "ver": "2.0", "appid": None, "azp": PROJECTS_APP, "oid": STRANGER},
        {"aud": CLIENT, "iss": ISSUERS[1], "ver": "2.0", "appid": None},
    ],
)
async def test_the_identities_of_the_settings_may_call(setup: Setup, changes: dict[str, Any]) -> None:
    await setup.authenticate(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"oid": STRANGER, "appid": STRANGER}, "the caller is not in FOUNDRY_MCP_CALLERS"),
        ({"oid": None, "appid": None}, "the caller is not in FOUNDRY_MCP_CALLERS"),
        ({"oid": [PROJECT], "appid": None}, "the caller is not in FOUNDRY_MCP_CALLERS"),
        ({"aud": "https://ai.azure.com"}, "the token is for another audience"),
        ({"aud": [f"api://{CLIENT}"]}, "the token is for another audience"),
        ({"aud": None}, "the token is for another audience"),
        ({"iss": "https://sts.windows.net/11111111-2222-3333-4444-555555555555/"}, "the token is of another tenant"),
        ({"tid": "11111111-2222-3333-4444-555555555555"}, "the token is of another tenant"),
        ({"tid": None}, "the token is of another tenant"),
        ({"iss": None}, "the token names no key or no issuer"),
        ({"scp": "access_as_user"}, "the token was issued for a person, not for an app"),
        ({"idtyp": "user"}, "the token was issued for a person, not for an app"),
        ({"exp": NOW - 301}, "the token has expired"),
        ({"nbf": NOW + 301}, "the token is not valid yet"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused_before_any_key_is_fetched(
    setup: Setup, changes: dict[str, Any], reason: str
) -> None:
    assert await setup.refuses(**changes) == reason
    assert setup.login.document_requests == 0


async def test_a_token_that_somebody_else_has_signed_is_refused(setup: Setup) -> None:
    forged = setup.login.token(claims(), key=setup.login.new_key())
    with pytest.raises(UnauthenticatedError, match="the signing key is not known"):
        await setup.callers.authenticate(f"Bearer {forged}")
    await setup.authenticate()
    stolen_id = setup.login.token(claims(), key=setup.login.new_key(), kid=setup.login.key.id)
    with pytest.raises(UnauthenticatedError, match="the signature does not fit the key"):
        await setup.callers.authenticate(f"Bearer {stolen_id}")


async def test_a_key_of_another_issuer_is_refused(setup: Setup) -> None:
    setup.login.key = setup.login.new_key((), issuer="https://login.microsoftonline.com/9188040d/v2.0")
    setup.login.keys = [setup.login.key]
    assert await setup.refuses() == "the signing key belongs to another issuer"


async def test_who_brings_no_token_is_refused(setup: Setup) -> None:
    for header in (None, "", "Basic abc", "Bearer x.y.z"):
        with pytest.raises(UnauthenticatedError):
            await setup.callers.authenticate(header)


async def test_without_keys_nobody_is_refused_for_good(setup: Setup) -> None:
    setup.login.broken = True
    with pytest.raises(AuthenticationUnavailableError):
        await setup.authenticate()
