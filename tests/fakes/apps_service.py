"""The stand-in of Databricks Apps over HTTP, asked by Databricks' own SDK on a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from aiohttp.test_utils import TestServer
from databricks.sdk import WorkspaceClient
from databricks.sdk.clock import Clock
from databricks.sdk.config import Config

from app.local.apps_stand_in import AppsStandIn
from app.local.stand_in_replies import api_application

USER = "somebody@example.com"
_T = TypeVar("_T")


class AppsService(Clock):
    """`stand_in` behind `url`. A pause takes no time and moves `now`."""

    def __init__(self, stand_in: AppsStandIn) -> None:
        self.stand_in = stand_in
        self.now = 0.0
        self.url = ""

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def client(self) -> WorkspaceClient:
        config = Config(host=self.url, token=self.stand_in.token, retry_timeout_seconds=30, clock=self)
        return WorkspaceClient(config=config)

    async def run(self, work: Callable[[WorkspaceClient], _T]) -> _T:
        """In a thread: the SDK blocks."""
        return await asyncio.to_thread(lambda: work(self.client()))


class _Identity:
    def routes(self) -> Sequence[web.RouteDef]:
        return (web.get("/api/2.0/preview/scim/v2/Me", self._me),)

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response({"userName": USER})


@asynccontextmanager
async def apps_service(
    token: str = "oauth-token", stand_in: Callable[[str], AppsStandIn] = AppsStandIn
) -> AsyncIterator[AppsService]:
    service = AppsService(stand_in(token))
    apps = web.Application()
    apps.router.add_routes(service.stand_in.app_routes())
    api = api_application(token, [service.stand_in, _Identity()])
    async with TestServer(apps, host="127.0.0.1") as of_apps, TestServer(api, host="127.0.0.1") as of_api:
        service.stand_in.address = f"http://127.0.0.1:{of_apps.port}"
        service.url = f"http://127.0.0.1:{of_api.port}"
        yield service
