"""Whether the tools' queues are there is seen where this machine may look, and said where it may not."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.foundry.agents.agent_settings import load_agent_settings
from app.foundry.agents.foundry_errors import RefusedError
from app.foundry.agents.queue_check import check_queues
from app.local.foundry import create_tool_queues
from app.storage.azure import azure_remote_queue
from tests.fakes.azurite import Azurite
from tests.foundry.agents.conftest import QUEUES


async def lines(queues: str, tool: str = "ask") -> list[str]:
    settings = load_agent_settings(
        {
            "PROJECT_ENDPOINT_ENT": "http://127.0.0.1:9/api/projects/p",
            "MODEL_DEPLOYMENT_NAME": "gpt-5.1",
            "STORAGE_SERVICE_ENDPOINT": queues,
            "FOUNDRY_TOOLS": "ask",
            "FOUNDRY_TOOL_NAME": tool,
        }
    )
    said: list[str] = []
    await check_queues(settings, said.append)
    return said


async def lines_at(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> list[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app, handler_cancellation=True) as server:
        return await lines(str(server.make_url("/devstoreaccount1")))


@pytest.mark.slow
async def test_queues_that_are_there_are_named(azurite: Azurite) -> None:
    name = f"t{secrets.token_hex(6)}"
    await create_tool_queues(azurite.connection_string, [name])
    assert await lines(azurite.address("queue"), name) == [
        f"queues: azure-function-{name}-input, azure-function-{name}-output"
    ]


@pytest.mark.slow
async def test_a_queue_that_is_missing_is_refused_with_what_to_do(azurite: Azurite) -> None:
    name = f"t{secrets.token_hex(6)}"
    with pytest.raises(RefusedError) as raised:
        await lines(azurite.address("queue"), name)
    assert f"has no queue azure-function-{name}-input, azure-function-{name}-output: provision" in str(raised.value)
    assert "foundryTools" in str(raised.value)


@pytest.mark.parametrize("code", ["AuthorizationPermissionMismatch", "AuthorizationFailure"])
async def test_queues_that_we_may_not_see_are_warned_of_with_the_role_that_would_show_them(code: str) -> None:
    """An identity that has a role on one queue alone is refused the others, whether they are there or not."""

    async def one_alone(request: web.Request) -> web.Response:
        is_input = request.path.endswith("/azure-function-ask-input")
        return web.Response() if is_input else web.Response(status=403, headers={"x-ms-error-code": code})

    seen, warning = await lines_at(one_alone)
    assert seen == "queues: azure-function-ask-input"
    assert warning.startswith(
        f"warning: 127.0.0.1 does not let this identity see azure-function-ask-output (HttpResponseError {code}), so "
    )
    assert "Storage Queue Data Reader" in warning


async def test_an_account_in_a_network_that_is_not_ours_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_remote_queue, "_CALL_SECONDS", 0.3)

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    for (line,) in (await lines_at(silent), await lines(QUEUES)):
        assert line.startswith("warning: 127.0.0.1 gave no answer (")


async def test_a_storage_account_that_nobody_knows_is_warned_of() -> None:
    (said,) = await lines("https://misspelt.z99.queue.storage.azure.net")
    assert said.startswith("warning: no storage account is known here as misspelt.z99.queue.storage.azure.net: check")
