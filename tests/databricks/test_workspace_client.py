from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
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
from app.databricks.renewing_token import CredentialError, IssuedToken, RenewingToken
from app.databricks.response_bodies import MAX_BODY_BYTES
from app.databricks.workspace_client import Identity, Workspace, WorkspaceUrl
from tests.fakes.serving_endpoint import TOKEN, Answer, ServingEndpoint, databricks_error

HOST = "https://adb-1.2.azuredatabricks.net"
SECRET = SecretStr("s3cret~value")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("given_address", "model_base_url"),
    [
        (HOST, f"{HOST}/serving-endpoints"),
        (f"{HOST}/", f"{HOST}/serving-endpoints"),
        ("adb-1.2.azuredatabricks.net", f"{HOST}/serving-endpoints"),
        (f"{HOST}/serving-endpoints/", f"{HOST}/serving-endpoints"),
        (f"{HOST}/?o=12345", f"{HOST}/serving-endpoints"),
        (f"{HOST}/serving-endpoints/my-model/invocations", f"{HOST}/serving-endpoints"),
        (f"{HOST}/serving-endpoints/chat/completions", f"{HOST}/serving-endpoints"),
        (f"{HOST}/ai-gateway/mlflow/v1", f"{HOST}/ai-gateway/mlflow/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/serving-endpoints"),
    ],
)
def test_every_address_a_person_may_copy_leads_to_the_model(given_address: str, model_base_url: str) -> None:
    address = WorkspaceUrl.parse(given_address)
    assert address.model_base_url == model_base_url
    assert model_base_url.startswith(address.host)


@pytest.mark.parametrize(
    "wrong", ["", "http://adb-1.2.azuredatabricks.net", "ftp://x", "https://me:pw@host", "https://", "https://a b"]
)
def test_a_token_is_never_sent_in_the_clear_or_nowhere(wrong: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        WorkspaceUrl.parse(wrong)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert WorkspaceUrl.parse(text).host


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
    assert credential.forget() is False


async def test_a_service_principal_signs_in_once_for_many_turns() -> None:
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "client", SECRET)
        tokens = await asyncio.gather(*(credential.token() for _ in range(10)))
    assert set(tokens) == {"oauth-token-1"}
    assert endpoint.sign_ins == [
        {"grant_type": "client_credentials", "scope": "all-apis", "login": f"client:{SECRET.get_secret_value()}"}
    ]


async def test_a_token_is_renewed_two_minutes_before_it_expires() -> None:
    clock = Clock()
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "client", SECRET, clock=clock)
        await credential.token()
        clock.now = 3600 - 121
        assert await credential.token() == "oauth-token-1"
        clock.now = 3600 - 119
        assert await credential.token() == "oauth-token-2"


async def test_a_token_goes_on_while_it_works_when_it_cannot_be_renewed() -> None:
    clock = Clock()
    async with ServingEndpoint() as endpoint:
        credential = ServicePrincipal(endpoint.host, "client", SECRET, clock=clock)
        await credential.token()
        endpoint.sign_in_replies.extend([Answer(503, "later")] * 2)
        clock.now = 3600 - 60
        assert await credential.token() == "oauth-token-1"
        assert await credential.token() == "oauth-token-1"
        assert len(endpoint.sign_ins) == 2
        clock.now = 3601
        with pytest.raises(CredentialError):
            await credential.token()
        assert await credential.token() == "oauth-token-4"


async def test_a_token_that_lives_shorter_than_two_minutes_is_not_fetched_every_time() -> None:
    clock = Clock()
    fetched = 0

    async def fetch() -> IssuedToken:
        nonlocal fetched
        fetched += 1
        return IssuedToken(SecretStr("t"), 60)

    renewing = RenewingToken(fetch, clock)
    await renewing.get()
    clock.now = 29
    await renewing.get()
    assert fetched == 1


async def test_a_caller_that_leaves_during_the_sign_in_does_not_stop_the_others() -> None:
    started = asyncio.Event()

    async def fetch() -> IssuedToken:
        started.set()
        await asyncio.sleep(0)
        return IssuedToken(SecretStr("t"), 600)

    renewing = RenewingToken(fetch)
    first, second = asyncio.create_task(renewing.get()), asyncio.create_task(renewing.get())
    await started.wait()
    first.cancel()
    assert await second == "t"


async def test_a_client_id_that_cannot_be_sent_is_named_as_the_fault() -> None:
    with pytest.raises(CredentialError, match="DATABRICKS_CLIENT_ID"):
        await ServicePrincipal(HOST, "a:b", SECRET).token()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(401, {"error": "invalid_client", "error_description": f"not\n{SECRET.get_secret_value()}"}),
            "invalid_client",
        ),
        (Answer(200, {"token_type": "Bearer"}), "no token"),
        (Answer(200, "<html>"), "no token"),
        (Answer(302, "", {"Location": "https://login.example"}), "HTTP 302"),
        (Answer(200, [1]), "no token"),
        (Answer(200, "[" * 100_000), "no token"),
        (
            Answer(401, {"error": "\x1b[31mbad\u202e", "error_description": "x" * 290 + SECRET.get_secret_value()}),
            "bad",
        ),
    ],
)
async def test_a_refused_sign_in_says_why_without_the_secret(answer: Answer, said: str) -> None:
    async with ServingEndpoint() as endpoint:
        endpoint.sign_in_replies.append(answer)
        with pytest.raises(CredentialError, match=said) as caught:
            await ServicePrincipal(endpoint.host, "client", SECRET).token()
    assert SECRET.get_secret_value()[:5] not in str(caught.value)
    assert str(caught.value).isprintable()


async def test_of_an_answer_without_end_only_the_beginning_is_read() -> None:
    async with ServingEndpoint() as endpoint:
        workspace = Workspace(WorkspaceUrl.parse(endpoint.base_url), PersonalAccessToken(SecretStr(TOKEN)))
        endpoint.lookup_replies.append(Answer(200, "x" * 3_000_000))
        assert len((await workspace.describe("my-model", within_seconds=5)).text) == MAX_BODY_BYTES


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


async def test_the_endpoints_task_is_looked_up_once() -> None:
    async with ServingEndpoint(task="agent/v1/responses") as endpoint:
        workspace = Workspace(WorkspaceUrl.parse(endpoint.host), PersonalAccessToken(SecretStr(TOKEN)))
        tasks = await asyncio.gather(*(workspace.endpoint_task("my-model") for _ in range(5)))
    assert set(tasks) == {"agent/v1/responses"}
    assert [asked.path for asked in endpoint.lookups] == ["/api/2.0/serving-endpoints/my-model"]


async def test_a_failed_lookup_is_repeated_a_minute_later_and_not_before() -> None:
    clock = Clock()
    async with ServingEndpoint(task="agent/v1/responses") as endpoint:
        address = WorkspaceUrl.parse(endpoint.host)
        workspace = Workspace(address, PersonalAccessToken(SecretStr(TOKEN)), clock=clock)
        endpoint.lookup_replies.append(databricks_error(503, "TEMPORARILY_UNAVAILABLE", "later"))
        assert await workspace.endpoint_task("my-model") is None
        clock.now = 59
        assert await workspace.endpoint_task("my-model") is None
        clock.now = 61
        assert await workspace.endpoint_task("my-model") == "agent/v1/responses"
    assert len(endpoint.lookups) == 2


async def test_a_model_in_the_ai_gateway_is_no_endpoint_to_look_up() -> None:
    async with ServingEndpoint() as endpoint:
        address = WorkspaceUrl.parse(f"{endpoint.host}/ai-gateway/mlflow/v1")
        workspace = Workspace(address, PersonalAccessToken(SecretStr(TOKEN)))
        assert await workspace.endpoint_task("system.ai.claude") is None
    assert endpoint.lookups == []


async def test_who_we_are_is_asked_once() -> None:
    async with ServingEndpoint() as endpoint:
        workspace = Workspace(WorkspaceUrl.parse(endpoint.base_url), PersonalAccessToken(SecretStr(TOKEN)))
        found = await asyncio.gather(*(workspace.identity() for _ in range(5)))
        assert set(found) == {Identity("ann@example.com", "Ann")}
        assert len(endpoint.identified) == 1


@pytest.mark.parametrize(
    "answer",
    [
        databricks_error(403, "PERMISSION_DENIED", "no"),
        Answer(302, "", {"Location": "https://login.example"}),
        Answer(200, "<html>"),
        Answer(200, ["ann"]),
        Answer(200, {"userName": None, "displayName": 7}),
        Answer(0),
    ],
    ids=lambda answer: f"{answer.status} {answer.body}"[:20],
)
async def test_a_workspace_that_does_not_say_who_we_are_is_asked_again_later(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.databricks.workspace_client.LOOKUP_TIMEOUT_SECONDS", 0.2)
    async with ServingEndpoint() as endpoint:
        workspace = Workspace(WorkspaceUrl.parse(endpoint.base_url), PersonalAccessToken(SecretStr(TOKEN)))
        known, endpoint.identity = endpoint.identity, answer
        assert await workspace.identity() is None
        monkeypatch.undo()
        endpoint.identity = known
        assert await workspace.identity() == Identity("ann@example.com", "Ann")


async def test_a_sign_in_that_fails_leaves_unknown_who_we_are() -> None:
    async with ServingEndpoint() as endpoint:
        endpoint.sign_in_replies.append(Answer(401, {"error": "invalid_client"}))
        workspace = Workspace(WorkspaceUrl.parse(endpoint.base_url), ServicePrincipal(endpoint.host, "c", SECRET))
        assert await workspace.identity() is None
