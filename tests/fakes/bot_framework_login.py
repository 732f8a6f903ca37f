"""The Bot Framework's login service: an OpenID document, its keys, and tokens signed with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from aiohttp.typedefs import Handler
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from tests.fakes.fake_service import FakeService

CHANNELS = ("msteams", "webchat", "directline")


@cache
def _private_key(number: int) -> RSAPrivateKey:
    """Making a key takes longer than a test: each is made once per run."""
    return generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Key:
    id: str
    private: RSAPrivateKey
    endorsements: Sequence[str] = CHANNELS
    more: dict[str, Any] = field(default_factory=dict)

    def as_jwk(self) -> dict[str, Any]:
        jwk = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        jwk = {**jwk, "kid": self.id, "use": "sig", "x5t": self.id, **self.more}
        return {**jwk, "endorsements": list(self.endorsements)} if self.endorsements else jwk


class BotFrameworkLogin(FakeService):
    """Serves `metadata_url` and counts; `keys` may be changed at any time, `broken` makes it answer 500, `redirected`
    sends a path elsewhere.
    """

    def __init__(self) -> None:
        self._made = 0
        self.key = self.new_key()
        self.keys: list[Any] = [self.key]
        self.document_requests = 0
        self.key_requests = 0
        self.broken = False
        self.redirected: dict[str, str] = {}
        self.document: Any = None
        app = web.Application(middlewares=[self._redirect])
        app.add_routes([web.get("/v1/.well-known/openidconfiguration", self._document), web.get("/keys", self._keys)])
        super().__init__(app)

    @property
    def keys_url(self) -> str:
        return f"{self.url}/keys"

    @property
    def metadata_url(self) -> str:
        return f"{self.url}/v1/.well-known/openidconfiguration"

    def new_key(self, endorsements: Sequence[str] = CHANNELS, **more: Any) -> Key:
        """Not published yet."""
        self._made += 1
        return Key(f"key-{id(self)}-{self._made}", _private_key(self._made), endorsements, more)

    def invented_key(self) -> Key:
        """A known key under a name that nobody has heard of."""
        self._made += 1
        return Key(f"invented-{self._made}", self.key.private)

    def rotate(self) -> Key:
        """From now on only a new key is published, and signs."""
        self.key = self.new_key()
        self.keys = [self.key]
        return self.key

    def token(self, claims: dict[str, Any], *, key: Key | None = None, **header: Any) -> str:
        signer = key or self.key
        return jwt.encode(claims, signer.private, algorithm="RS256", headers={"kid": signer.id, **header})

    @web.middleware
    async def _redirect(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        target = self.redirected.get(request.path)
        return web.Response(status=302, headers={"Location": target}) if target else await handler(request)

    async def _document(self, _: web.Request) -> web.Response:
        self.document_requests += 1
        if self.broken:
            return web.Response(status=500, reason="What a server says")
        if self.document is not None:
            return web.json_response(self.document)
        document = {
            "issuer": "https://api.botframework.com",
            "authorization_endpoint": "https://invalid.botframework.com",
            "jwks_uri": f"{self.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        }
        return web.json_response(document)

    async def _keys(self, _: web.Request) -> web.Response:
        self.key_requests += 1
        keys = [key.as_jwk() if isinstance(key, Key) else key for key in self.keys]
        return web.Response(text=json.dumps({"keys": keys}), content_type="application/json")
