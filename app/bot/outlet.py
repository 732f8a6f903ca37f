"""Where a reply's activities go: to the channel's connector, or into the HTTP response."""

from __future__ import annotations

from typing import Any, Protocol

from botbuilder.schema import Activity, ChannelAccount, ConversationAccount

from app.bot.connector import Connector

# Seconds that a message which has to arrive is tried for.
PATIENCE = 60.0

Json = dict[str, Any]


class Outlet(Protocol):
    """Both raise the failures of `app.bot.send_failures`. An impatient send is not repeated: a newer one follows."""

    async def post(self, activity: Json, *, impatient: bool = False) -> str | None:
        """Returns the activity's id, if the channel gave one."""
        ...

    async def update(self, activity_id: str, activity: Json, *, impatient: bool = False) -> None: ...


class ResponseOutlet:
    """Keeps activities for the HTTP response of `deliveryMode: expectReplies`."""

    def __init__(self, addressing: Json) -> None:
        self._addressing = addressing
        self.activities: list[Json] = []

    async def post(self, activity: Json, *, impatient: bool = False) -> str | None:
        self.activities.append({**self._addressing, **activity})
        return None

    async def update(self, activity_id: str, activity: Json, *, impatient: bool = False) -> None:
        raise AssertionError("what is in an HTTP response cannot be edited")


class ConnectorOutlet:
    """Sends to the conversation that an activity came from, as a reply to it."""

    def __init__(self, connector: Connector, activity: Activity) -> None:
        self._connector = connector
        self._service_url: str = activity.service_url or ""
        self._conversation_id: str = activity.conversation.id if activity.conversation else ""
        self._reply_to: str | None = activity.id
        self._addressing = addressing(activity)

    async def post(self, activity: Json, *, impatient: bool = False) -> str | None:
        return await self._connector.send(
            self._service_url,
            self._conversation_id,
            {**self._addressing, **activity},
            self._reply_to,
            budget=0.0 if impatient else PATIENCE,
        )

    async def update(self, activity_id: str, activity: Json, *, impatient: bool = False) -> None:
        await self._connector.update(
            self._service_url,
            self._conversation_id,
            activity_id,
            {**self._addressing, **activity, "id": activity_id},
            budget=0.0 if impatient else PATIENCE,
        )


def addressing(activity: Activity) -> Json:
    """What makes an activity of ours an answer to `activity`."""
    fields = {
        "channelId": activity.channel_id,
        "serviceUrl": activity.service_url,
        "conversation": _account(activity.conversation),
        "from": _account(activity.recipient),
        "recipient": _account(activity.from_property),
        "replyToId": activity.id,
        "locale": activity.locale,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _account(account: ChannelAccount | ConversationAccount | None) -> Json | None:
    """The channel knows the rest by the id."""
    if account is None:
        return None
    return {"id": account.id, "name": account.name} if account.name else {"id": account.id}
