"""The newest access token of each person, in the memory of this process alone."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agent_server.identity.server_caller import ServerCaller
from app.common.identity import UserIdentity

# As long as Databricks' tokens for people live; one that says otherwise is believed.
_LIFETIME_SECONDS = 3600.0
# A token that expires on its way is refused.
_UNUSED_BEFORE_EXPIRY_SECONDS = 30.0
_MAX_PERSONS = 10_000


@dataclass(frozen=True, slots=True)
class _Kept:
    identity: UserIdentity
    usable_until: float


class PersonTokens:
    """Lets a stored response go on as its owner: with the token of their newest request, never as the app.

    `clock` is in seconds since 1970.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def remember(self, caller: ServerCaller) -> None:
        """To be called for each request."""
        if not isinstance(caller.identity, UserIdentity):
            return
        kept = self._kept.get(caller.owner)
        if kept is not None and _secret(kept.identity) == _secret(caller.identity):
            self._kept.move_to_end(caller.owner)
            return
        lives_until = _expiry(_secret(caller.identity)) or self._clock() + _LIFETIME_SECONDS
        self._kept[caller.owner] = _Kept(caller.identity, lives_until - _UNUSED_BEFORE_EXPIRY_SECONDS)
        self._kept.move_to_end(caller.owner)
        if len(self._kept) > _MAX_PERSONS:
            self._kept.popitem(last=False)

    def find(self, owner: str) -> UserIdentity | None:
        """None where the owner has not asked this process within the life of their token."""
        kept = self._kept.get(owner)
        if kept is not None and kept.usable_until <= self._clock():
            del self._kept[owner]
            return None
        return None if kept is None else kept.identity


def _secret(identity: UserIdentity) -> str:
    return identity.token.get_secret_value()


def _expiry(token: str) -> float | None:
    """What a JSON Web Token says of itself (`exp`, RFC 7519 section 4.1.4). Nothing is trusted to it."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(expiry, bool) or not isinstance(expiry, int | float):
        return None
    return float(expiry) if 0 < expiry < 1e11 else None
