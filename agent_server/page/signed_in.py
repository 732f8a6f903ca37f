"""Who is signed in, as whom Databricks is asked, and what the page can offer here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from app.common.identity import UserIdentity
from app.databricks.current_user import CurrentUser

StorageKind = Literal["sqlite", "postgresql", "azure"]


@dataclass(frozen=True, slots=True)
class PageFeatures:
    files: bool
    jobs: bool
    feedback: bool


class SignedIn:
    """`find_user` looks up who the server itself is in the workspace; None where it asks none."""

    def __init__(
        self,
        *,
        title: str,
        storage: StorageKind,
        features: PageFeatures,
        max_file_bytes: int,
        image_hosts: Sequence[str],
        find_user: Callable[[], Awaitable[CurrentUser | None]] | None = None,
    ) -> None:
        self._fixed: dict[str, Any] = {
            "title": title,
            "storage": storage,
            "features": asdict(features),
            "max_file_bytes": max_file_bytes,
            "image_hosts": list(image_hosts),
        }
        self._find_user = find_user

    async def describe(self, caller: ServerCaller) -> dict[str, Any]:
        name, email = caller.name, caller.email
        if caller.owner == LOCAL_OWNER:
            user = await self._find_user() if self._find_user is not None else None
            name = (user.display_name or user.user_name) if user is not None else name
            identity, says = "local", self._says_locally(user)
        elif isinstance(caller.identity, UserIdentity):
            identity, says = "person", "Databricks is asked as you: answers rest on what you may see."
        else:
            identity, says = "app", "Databricks is asked as this app, not as you: answers rest on what the app may see."
        return {**self._fixed, "owner": caller.owner, "name": name, "email": email, "identity": identity, "says": says}

    def _says_locally(self, user: CurrentUser | None) -> str:
        if self._find_user is None:
            return "This server runs on one machine, and nobody signs in."
        if user is None:
            return "Databricks is asked with the sign-in of this machine; the workspace has not said whose it is."
        return f"Databricks is asked as {user.user_name}, the sign-in of this machine."
