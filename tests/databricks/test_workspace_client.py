"""How the workspace's REST API is asked, and what becomes of each way in which it can fail."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.common.http_session import HttpSession
from app.common.identity import UserIdentity
from app.common.renewing_token import IssuedToken, RenewingToken
from app.databricks.workspace_client import WorkspaceClient, api_path
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceReply,
    WorkspaceReplyError,
    WorkspaceRequestError,
    WorkspaceSignInError,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
    WorkspaceUnreachableError,
    error_of_reply,
)
from tests.fakes.serving_endpoint import TOKEN
from tests.fakes.workspace_api import ApiReply, Disturbance, WorkspaceApi
from tests.fakes.workspaces import workspace_at

RUN = "/api/2.2/jobs/runs/get"
ANN = UserIdentity("ann", SecretStr("token-of-ann"))
BUSY = ApiReply(429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}, {"Retry-After": "3"})
AWAY = ApiReply(503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "soon"})


class Renewable:
    """Gives out token-1, token-2, …"""

    name = "a test's"

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._token = RenewingToken("The test's token", self._fetch)

    async def _fetch(self) -> IssuedToken:
        return IssuedToken(SecretStr(f"token-{next(self._numbers)}"), 3600)

    async def token(self) -> str:
        return await self._token.get()

    def forget(self, token: str) -> bool:
        self._token.forget(token)
        return True

    async def close(self) -> None:
        await self._token.close()


@asynccontextmanager
async def asked(
    replies: Sequence[ApiReply | Disturbance] = (), **options: Any
) -> AsyncIterator[tuple[WorkspaceClient, WorkspaceApi, list[float]]]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with (
        WorkspaceApi() as api,
        workspace_at(api.url, sleep=sleep, jitter=lambda: 1.0, **options) as workspace,
    ):
        api.replies.extend(replies)
        yield workspace, api, pauses


async def test_a_request_carries_token_query_and_body_and_gives_the_json_object() -> None:
    async with asked([ApiReply(body={"run_id": 7})]) as (workspace, api, _):
        found = await workspace.request("POST", RUN, query={"q": "a b&c"}, json_body={"run_id": 7, "name": "é"})
    assert found == {"run_id": 7}
    [request] = api.requests
    assert (request.method, request.path_and_query) == ("POST", f"{RUN}?q=a+b%26c")
    assert (request.token, request.body) == (TOKEN, {"run_id": 7, "name": "é"})
    assert request.headers["Content-Type"] == "application/json"


async def test_an_answer_without_a_body_is_an_empty_object() -> None:
    async with asked([ApiReply(200, ""), ApiReply(204, "")]) as (workspace, _, _):
        assert [await workspace.request("DELETE", RUN) for _ in range(2)] == [{}, {}]


@given(st.text(min_size=1, max_size=20))
def test_no_name_leads_out_of_the_path_it_stands_in(name: str) -> None:
    segments = api_path("/api/2.0/things", name, "runs").split("/")
    assert len(segments) == 6
    assert segments[4] not in {"", ".", ".."}
    assert not set(segments[4]) & set("/?#")


async def test_a_name_arrives_as_one_segment() -> None:
    async with asked() as (workspace, api, _):
        await workspace.request("GET", api_path("/api/2.0/serving-endpoints", "../a b?c"))
    assert api.requests[0].path_and_query == "/api/2.0/serving-endpoints/..%2Fa%20b%3Fc"


async def test_requests_share_their_connections() -> None:
    async with asked() as (workspace, api, _):
        for _ in range(3):
            await workspace.request("GET", RUN)
    assert len({request.client_port for request in api.requests}) == 1


async def test_each_request_goes_out_as_its_own_identity_and_no_cookie_passes_between_them() -> None:
    async with asked([ApiReply(headers={"Set-Cookie": "session=app"})]) as (workspace, api, _):
        await workspace.request("GET", RUN)
        await workspace.request("GET", RUN, identity=ANN)
        await workspace.request("GET", RUN)
    assert [request.token for request in api.requests] == [TOKEN, "token-of-ann", TOKEN]
    assert not any("Cookie" in request.headers for request in api.requests)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_token_is_renewed_once_for_any_method(method: Any) -> None:
    async with asked(credential=Renewable()) as (workspace, api, pauses):
        api.refused_tokens = {"token-1"}
        assert await workspace.request(method, RUN) == {"ok": True}
        api.refused_tokens = {"token-2", "token-3"}
        with pytest.raises(WorkspaceSignInError, match="401"):
            await workspace.request(method, RUN)
    assert [request.token for request in api.requests] == ["token-1", "token-2", "token-2", "token-3"]
    assert pauses == []


async def test_many_requests_whose_token_is_refused_together_cause_one_renewal() -> None:
    async with asked(credential=Renewable()) as (workspace, api, _):
        api.refused_tokens = {"token-1"}
        await asyncio.gather(*(workspace.request("GET", RUN) for _ in range(10)))
    assert {request.token for request in api.requests} == {"token-1", "token-2"}


async def test_a_persons_refused_token_is_never_replaced_by_the_apps() -> None:
    async with asked(credential=Renewable()) as (workspace, api, _):
        api.refused_tokens = {"token-of-ann"}
        with pytest.raises(WorkspaceSignInError) as caught:
            await workspace.request("GET", RUN, identity=ANN)
    assert [request.token for request in api.requests] == ["token-of-ann"]
    assert "token-of-ann" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "idempotent", "replies", "pauses"),
    [
        ("GET", False, [BUSY, BUSY], [3.25, 3.25]),
        ("POST", False, [BUSY, BUSY], [3.25, 3.25]),
        ("GET", False, [AWAY, AWAY, AWAY], [0.5, 1, 2]),
        ("DELETE", False, [ApiReply(500, "<html>"), "cut body"], [0.5, 1]),
        ("POST", True, [AWAY, "cut", "cut body"], [0.5, 1, 2]),
    ],
)
async def test_a_request_that_may_be_carried_out_twice_is_made_again(
    method: Any, idempotent: bool, replies: list[ApiReply | Disturbance], pauses: list[float]
) -> None:
    async with asked(replies) as (workspace, api, paused):
        assert await workspace.request(method, RUN, idempotent=idempotent) == {"ok": True}
    assert paused == pauses
    assert len(api.requests) == len(replies) + 1


@pytest.mark.parametrize(
    ("method", "reply", "error"),
    [
        ("POST", AWAY, WorkspaceUnavailableError),
        ("POST", ApiReply(500, "<html>"), WorkspaceUnavailableError),
        ("POST", "cut", WorkspaceInterruptedError),
        ("PATCH", "cut body", WorkspaceInterruptedError),
        ("GET", ApiReply(400, {"error_code": "INVALID_PARAMETER_VALUE"}), WorkspaceRequestError),
        ("GET", ApiReply(403, {"error_code": "PERMISSION_DENIED"}), WorkspacePermissionError),
        ("GET", ApiReply(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}), WorkspaceNotFoundError),
        ("GET", ApiReply(409, "[1]"), WorkspaceRequestError),
        ("GET", ApiReply(200, "<html>sign in</html>"), WorkspaceReplyError),
        ("GET", ApiReply(200, "[1, 2]"), WorkspaceReplyError),
        ("GET", ApiReply(200, "[" * 100_000), WorkspaceReplyError),
    ],
    ids=str,
)
async def test_anything_else_is_asked_once_and_fails_with_a_type(
    method: Any, reply: ApiReply | Disturbance, error: type[WorkspaceError]
) -> None:
    async with asked([reply]) as (workspace, api, pauses):
        with pytest.raises(error) as caught:
            await workspace.request(method, RUN)
    assert type(caught.value) is error
    assert (len(api.requests), pauses) == (1, [])
    assert str(caught.value).startswith(f"{method} {RUN}: ")


async def test_an_error_keeps_its_code_and_what_the_workspace_said_apart_from_its_log_line() -> None:
    said = "The latest repair ID needs to be provided for Ann's run"
    async with asked([ApiReply(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": said})]) as (workspace, _, _):
        with pytest.raises(WorkspaceRequestError) as caught:
            await workspace.request("POST", RUN)
    assert (caught.value.error_code, caught.value.detail) == ("INVALID_PARAMETER_VALUE", said)
    assert str(caught.value) == f"POST {RUN}: HTTP 400 INVALID_PARAMETER_VALUE"


async def test_after_the_last_try_the_failure_says_when_to_come_back() -> None:
    async with asked([BUSY] * 4) as (workspace, api, _):
        with pytest.raises(WorkspaceRateLimitError) as caught:
            await workspace.request("GET", RUN)
    assert caught.value.retry_after_seconds == 3
    assert len(api.requests) == 4


async def test_a_pause_that_the_time_limit_does_not_allow_is_not_made() -> None:
    async with asked([BUSY]) as (workspace, api, pauses):
        with pytest.raises(WorkspaceRateLimitError):
            await workspace.request("GET", RUN, time_limit_seconds=2)
    assert (len(api.requests), pauses) == (1, [])


async def test_a_redirect_is_not_followed_and_takes_no_token_along() -> None:
    async with WorkspaceApi() as elsewhere:
        redirect = ApiReply(302, "", {"Location": f"{elsewhere.url}/login?next=secret"})
        async with asked([redirect]) as (workspace, _, _):
            with pytest.raises(WorkspaceReplyError, match="redirected") as caught:
                await workspace.request("GET", RUN)
    assert elsewhere.requests == []
    assert "next=secret" not in str(caught.value)


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False), (5_000_000, False)])
async def test_an_answer_beyond_the_callers_limit_is_refused(size: int, fits: bool) -> None:
    body = '{"a":"' + "x" * (size - 8) + '"}'
    async with asked([ApiReply(200, body)]) as (workspace, _, _):
        if fits:
            assert await workspace.request("GET", RUN, max_reply_bytes=1000)
        else:
            with pytest.raises(WorkspaceReplyError, match="1000 bytes"):
                await workspace.request("GET", RUN, max_reply_bytes=1000)


async def test_an_error_with_a_huge_body_is_still_that_error() -> None:
    async with asked([ApiReply(404, "x" * 3_000_000)]) as (workspace, _, _):
        with pytest.raises(WorkspaceNotFoundError):
            await workspace.request("GET", RUN)


async def test_silence_ends_at_the_time_limit_and_frees_the_connection() -> None:
    async with asked(["hang"]) as (workspace, api, _):
        with pytest.raises(WorkspaceTimeoutError, match=r"0\.2 s"):
            await workspace.request("GET", RUN, time_limit_seconds=0.2)
        await asyncio.wait_for(api.client_left.wait(), 5)
    assert len(api.requests) == 1


async def test_a_cancelled_caller_ends_its_request() -> None:
    async with asked(["hang"]) as (workspace, api, _):
        task = asyncio.create_task(workspace.request("GET", RUN))
        await asyncio.wait_for(api.arrived.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(api.client_left.wait(), 5)
        assert await workspace.request("GET", RUN) == {"ok": True}


async def test_a_workspace_that_is_not_there_was_sent_nothing_so_any_request_is_tried_again() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with workspace_at(f"http://127.0.0.1:{taken.getsockname()[1]}", sleep=sleep) as workspace:
            with pytest.raises(WorkspaceUnreachableError):
                await workspace.request("POST", RUN)
    assert len(pauses) == 3


@given(
    st.integers(100, 599),
    st.text().map(str.encode) | st.binary(),
    st.none() | st.text(max_size=40),
    st.none() | st.text(max_size=40),
)
def test_any_answer_becomes_an_error_of_one_short_line(
    status: int, body: bytes, location: str | None, retry_after: str | None
) -> None:
    error = error_of_reply("GET /api", WorkspaceReply(status, body, location, retry_after))
    assert len(str(error)) < 700
    assert str(error).isprintable()
    assert error.detail.isprintable()


async def test_a_session_that_was_closed_is_opened_anew() -> None:
    session = HttpSession()
    first = session.get()
    assert session.get() is first
    await session.close()
    assert session.get() is not first
    await session.close()


async def test_a_netrc_file_does_not_change_the_token_that_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with asked() as (workspace, api, _):
        assert await workspace.request("GET", RUN) == {"ok": True}
    assert api.requests[0].token == TOKEN


@pytest.mark.parametrize("bypassed", [True, False])
async def test_a_proxy_that_the_environment_names_is_used(bypassed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with WorkspaceApi() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "localhost" if bypassed else "elsewhere.example")
        async with workspace_at("http://localhost:9") as workspace:
            if bypassed:
                with pytest.raises(WorkspaceUnreachableError):
                    await workspace.request("GET", RUN, attempts=1)
            else:
                assert await workspace.request("GET", RUN) == {"ok": True}
    assert [request.path_and_query for request in proxy.requests] == ([] if bypassed else [f"http://localhost:9{RUN}"])
