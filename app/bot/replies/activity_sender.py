"""Where a reply sends its activities: to the channel's connector, or into the HTTP response."""

from __future__ import annotations

from typing import Any, Protocol

Json = dict[str, Any]


class ActivitySender(Protocol):
    """Sends to one conversation. Both methods raise the errors of `app.bot.connector.send_errors`.

    `retry=False` sends once: for an update that a newer one follows.
    """

    async def post(self, activity: Json, *, retry: bool = True) -> str | None:
        """Returns the activity's id, if the channel gave one."""
        ...

    async def update(self, activity_id: str, activity: Json, *, retry: bool = True) -> None: ...


class BufferedSender:
    """Appends to `replies`, which the HTTP response of `deliveryMode: expectReplies` brings; `fields` are in each."""

    def __init__(self, fields: Json, replies: list[Json]) -> None:
        self._fields = fields
        self._replies = replies

    async def post(self, activity: Json, *, retry: bool = True) -> str | None:
        self._replies.append({**self._fields, **activity})
        return None

    async def update(self, activity_id: str, activity: Json, *, retry: bool = True) -> None:
        raise AssertionError("what is in an HTTP response cannot be edited")
