"""Who calls the server."""

from __future__ import annotations

from dataclasses import dataclass

from app.common.identity import APP_IDENTITY, RequestIdentity

LOCAL_OWNER = "local"


@dataclass(frozen=True, slots=True)
class ServerCaller:
    """`owner` is `LOCAL_OWNER`, or inside an app the id of the person that Databricks vouches for. `name` and `email`
    are for display alone. `identity` is as whom Databricks is asked.
    """

    owner: str
    name: str = ""
    email: str = ""
    identity: RequestIdentity = APP_IDENTITY

    @property
    def tenant(self) -> str:
        """Of the keys of all that is stored for this caller."""
        return f"apps/{self.owner}"
