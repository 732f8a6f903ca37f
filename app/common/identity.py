"""As whom a request is made to Databricks."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class AppIdentity:
    """The app itself: the credential that its settings name."""


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """A person. `user_id` says who, for caches and logs; `token` is a bearer token for Databricks issued to them."""

    user_id: str
    token: SecretStr = field(compare=False)


RequestIdentity = AppIdentity | UserIdentity

APP_IDENTITY = AppIdentity()


def identity_key(identity: RequestIdentity) -> str:
    """Names the identity in keys of caches and of what is stored."""
    return f"user/{identity.user_id}" if isinstance(identity, UserIdentity) else "app"
