from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from app.databricks.credentials import (
    AZURE_DATABRICKS_RESOURCE,
    CredentialChoice,
    ManagedIdentity,
    PersonalAccessToken,
    SdkCredential,
    ServicePrincipal,
    choose_credential,
)
from app.databricks.workspace_errors import CredentialError
from tests.fakes.serving_endpoint import TOKEN, HttpReply, ServingEndpoint

HOST = "https://adb-1.2.azuredatabricks.net"
SECRET = SecretStr("s3cret~value")


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (CredentialChoice(token=SECRET, client_id="i", client_secret=SECRET), PersonalAccessToken),
        (CredentialChoice(client_id="i", client_secret=SECRET, auth_type="azure-managed-identity"), ServicePrincipal),
        (CredentialChoice(auth_type="azure-managed-identity", managed_identity_client_id="bot"), ManagedIdentity),
        (CredentialChoice(auth_type="azure-cli"), SdkCredential),
        (CredentialChoice(), SdkCredential),
    ],
)
def test_the_first_credential_configured_is_used_and_no_secret_is_shown(choice: CredentialChoice, kind: type) -> None:
    credential = choose_credential(HOST, choice)
    assert isinstance(credential, kind)
    assert SECRET.get_secret_value() not in credential.name + repr(choice) + repr(credential)


async def test_a_personal_access_token_is_used_as_it_is() -> None:
    credential = PersonalAccessToken(SecretStr(TOKEN))
    assert await credential.token() == TOKEN
    assert credential.forget(TOKEN) is False


async def test_a_service_principal_signs_in_once_for_many_turns() -> None:
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "client", SECRET)
        tokens = await asyncio.gather(*(credential.token() for _ in range(10)))
    assert set(tokens) == {"oauth-token-1"}
    assert endpoint.sign_ins == [
        {"grant_type": "client_credentials", "scope": "all-apis", "login": f"client:{SECRET.get_secret_value()}"}
    ]


async def test_a_netrc_file_does_not_disturb_the_sign_in_of_a_service_principal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with ServingEndpoint() as endpoint:
        assert await ServicePrincipal(endpoint.host, "client", SECRET).token() == "oauth-token-1"


async def test_a_client_id_that_cannot_be_sent_is_named_as_the_fault() -> None:
    with pytest.raises(CredentialError, match="DATABRICKS_CLIENT_ID"):
        await ServicePrincipal(HOST, "a:b", SECRET).token()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            HttpReply(401, {"error": "invalid_client", "error_description": f"not\n{SECRET.get_secret_value()}"}),
            "invalid_client",
        ),
        (HttpReply(200, {"token_type": "Bearer"}), "no token"),
        (HttpReply(200, "<html>"), "no token"),
        (HttpReply(302, "", {"Location": "https://login.example"}), "HTTP 302"),
        (HttpReply(200, [1]), "no token"),
        (HttpReply(200, "[" * 100_000), "no token"),
        (
            HttpReply(401, {"error": "\x1b[31mbad\u202e", "error_description": "x" * 290 + SECRET.get_secret_value()}),
            "bad",
        ),
    ],
)
async def test_a_refused_sign_in_says_why_without_the_secret(answer: HttpReply, said: str) -> None:
    async with ServingEndpoint() as endpoint:
        endpoint.sign_in_replies.append(answer)
        with pytest.raises(CredentialError, match=said) as caught:
            await ServicePrincipal(endpoint.host, "client", SECRET).token()
    assert SECRET.get_secret_value()[:5] not in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_workspace_that_is_not_there_fails_the_sign_in() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CredentialError, match="did not answer"):
            await ServicePrincipal(host, "client", SECRET).token()


class IdentityEndpoint:
    """What Azure Functions gives a managed identity: IDENTITY_ENDPOINT, guarded by IDENTITY_HEADER."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: dict[str, str] | str = {"access_token": "entra-token", "expires_on": "99999999999"}
        app = web.Application()
        app.router.add_get("/msi/token", self._token)
        self.server = TestServer(app, host="127.0.0.1")

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append({**request.query, "header": request.headers.get("X-IDENTITY-HEADER", "")})
        return web.Response(text=self.answer) if isinstance(self.answer, str) else web.json_response(self.answer)


async def test_the_bots_own_identity_gets_a_token_for_databricks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = IdentityEndpoint()
    async with identity.server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", str(identity.server.make_url("/msi/token")))
        monkeypatch.setenv("IDENTITY_HEADER", "guard")
        choice = CredentialChoice(auth_type="azure-managed-identity", managed_identity_client_id="bot-app-id")
        credential = choose_credential(HOST, choice)
        assert [await credential.token() for _ in range(2)] == ["entra-token"] * 2
    expected = {"resource": AZURE_DATABRICKS_RESOURCE, "client_id": "bot-app-id", "api-version": "2019-08-01"}
    assert identity.asked == [{**expected, "header": "guard"}]


@pytest.mark.parametrize("answer", [{"statusCode": "500", "message": "no such identity"}, "<html>"])
async def test_an_identity_that_is_not_there_fails_the_sign_in(
    answer: dict[str, str] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = IdentityEndpoint()
    identity.answer = answer
    async with identity.server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", str(identity.server.make_url("/msi/token")))
        monkeypatch.setenv("IDENTITY_HEADER", "guard")
        with pytest.raises(CredentialError, match="managed identity endpoint"):
            await ManagedIdentity("bot-app-id").token()


async def test_a_developers_profile_is_found_by_databricks_sdk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with ServingEndpoint() as endpoint:
        profile = tmp_path / "databrickscfg"
        profile.write_text(f"[dev]\nhost = {endpoint.host}\ntoken = {TOKEN}\n")
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(profile))
        credential = SdkCredential(endpoint.host, profile="dev")
        assert await credential.token() == TOKEN
        assert credential.name == "databricks-sdk: pat"
        assert TOKEN not in caplog.text


async def test_a_developer_who_is_not_signed_in_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    async with ServingEndpoint() as endpoint:
        credential = SdkCredential(endpoint.host, auth_type="pat")
        with pytest.raises(CredentialError, match="databricks-sdk"):
            await credential.token()
