"""Sends the replies to one activity through the connector."""

from __future__ import annotations

from typing import Any, Final

from app.bot.connector.connector_client import ConnectorClient
from app.bot.inbound.reply_target import ReplyTarget

Json = dict[str, Any]

SEND_SECONDS: Final = 30.0
"""What a send may take, with its repeats."""


class ConnectorSender:
    """An `app.bot.replies.activity_sender.ActivitySender`. Raises `app.bot.connector.send_errors`."""

    def __init__(self, connector: ConnectorClient, target: ReplyTarget) -> None:
        self._connector = connector
        self._target = target

    async def post(self, activity: Json, *, retry: bool = True) -> str | None:
        content = {**self._target.fields, **activity}
        reply_to: str | None = content.get("replyToId")
        if self._target.is_targeted:
            content, reply_to = _targeted(content), None
        return await self._connector.send(
            self._target.service_url,
            self._target.conversation,
            content,
            reply_to,
            retry_seconds=SEND_SECONDS if retry else 0.0,
            targeted=self._target.is_targeted,
        )

    async def update(self, activity_id: str, activity: Json, *, retry: bool = True) -> None:
        content = {**self._target.fields, **activity, "id": activity_id}
        if self._target.is_targeted:
            # Teams refuses an edit that names a recipient: https://github.com/microsoft/teams.ts/issues/738
            content.pop("recipient")
        await self._connector.update(
            self._target.service_url,
            self._target.conversation,
            activity_id,
            content,
            retry_seconds=SEND_SECONDS if retry else 0.0,
            targeted=self._target.is_targeted,
        )


def _targeted(content: Json) -> Json:
    """A targeted message cannot be a reply: an entity names the message that it answers.

    https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/targeted-messages
    """
    replied_to = content.pop("replyToId", None)
    if content.get("type") == "message" and replied_to:
        entities = [*content.get("entities", ()), {"type": "targetedMessageInfo", "messageId": replied_to}]
        content = {**content, "entities": entities}
    return content
