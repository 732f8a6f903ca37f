"""Microsoft Entra as an app without a user meets it, and the managed identity endpoint of Azure Functions."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from aiohttp import web
from requests.adapters import HTTPAdapter

from tests.fakes.fake_service import FakeService

SECRET = "s3cret~value"
IDENTITY_HEADER = "identity-header"


class _Redirected(HTTPAdapter):
    """msal insists on https and on Microsoft's own hosts; here all of them are one server on this machine."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = urlsplit(server)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        request.url = urlunsplit((self._server.scheme, self._server.netloc, parts.path, parts.query, ""))
        request.headers["X-Asked-Host"] = parts.netloc
        return super().send(request, *args, **kwargs)


class Entra(FakeService):
    """Gives out `token-1`, `token-2`, ...; `asked` is what was asked for, `answer` what it answers instead."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.expires_in = 3600
        self.answer: tuple[int, dict[str, Any]] | None = None
        self.hold: asyncio.Event | None = None
        app = web.Application()
        app.add_routes(
            [
                web.get("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration),
                web.get("/common/discovery/instance", self._clouds),
                web.post("/{tenant}/oauth2/v2.0/token", self._token),
                web.get("/msi/token", self._managed_identity),
            ]
        )
        super().__init__(app)

    async def __aexit__(self, *_: object) -> None:
        if self.hold is not None:
            self.hold.set()
        await super().__aexit__()

    @property
    def managed_identity_endpoint(self) -> str:
        return f"{self.url}/msi/token"

    def http_client(self) -> requests.Session:
        session = requests.Session()
        session.mount("https://", _Redirected(f"{self.url}/"))
        return session

    async def _configuration(self, request: web.Request) -> web.Response:
        base = f"https://{request.headers['X-Asked-Host']}/{request.match_info['tenant']}"
        return web.json_response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
            }
        )

    async def _clouds(self, request: web.Request) -> web.Response:
        host = request.headers["X-Asked-Host"]
        cloud = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        return web.json_response({"api-version": "1.1", "metadata": [cloud]})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        host = request.headers["X-Asked-Host"]
        self.asked.append({**form, "host": host, "tenant": request.match_info["tenant"]})
        if form.get("client_secret") != SECRET:
            description = f"AADSTS7000215: Invalid client secret provided: {form.get('client_secret')}"
            return web.json_response({"error": "invalid_client", "error_description": description}, status=401)
        return await self._give_token()

    async def _managed_identity(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
            return web.json_response({"statusCode": 401, "message": "no header"}, status=401)
        return await self._give_token(resource=request.query["resource"])

    async def _give_token(self, **claims: str) -> web.Response:
        number = len(self.asked)
        if self.hold is not None:
            await self.hold.wait()
        if self.answer is not None:
            status, content = self.answer
            return web.json_response(content, status=status)
        token = {**claims, "token_type": "Bearer", "access_token": f"token-{number}", "expires_in": self.expires_in}
        # The managed identity endpoint says when, not how long.
        return web.json_response({**token, "expires_on": str(int(time.time()) + self.expires_in)})
