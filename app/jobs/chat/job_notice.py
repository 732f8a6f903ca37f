"""Queue messages of the kind `job_notice`: something happened to an incident, and chats that watch its job are told.

Put by a pass, in the Functions app or anywhere else that shares the store and its queue `turns`; handled by the bot.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from app.jobs.incidents.incident import NoticeKind
from app.jobs.notifications.notifier import Notice, NotifyError
from app.messaging.job_messages import JOB_NOTICE_KIND
from app.storage.conversations import ConversationKey
from app.storage.queue import Queue

MAX_TEXT_CHARACTERS = 1_000
PRESS: Final = "press-"
"""With which the id of a notice begins that a person caused by a button."""


class JobNotice(BaseModel):
    """`id` is the idempotency key of what happened. Without a `conversation` it is for all chats that watch the job;
    the bot makes one for each of them, with the locale in which it is told. `text` is what a person added.
    """

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    v: Literal[1] = 1
    kind: Literal["job_notice"] = JOB_NOTICE_KIND
    traceparent: str | None = None
    id: str
    incident: str
    what: NoticeKind
    text: str = ""
    tenant: str = ""
    conversation: str = ""
    locale: str = ""

    @property
    def key(self) -> ConversationKey | None:
        return ConversationKey(self.tenant, self.conversation) if self.conversation else None


class ChatNotifier:
    """An `app.jobs.notifications.notifier.Notifier`. A notice that is put on the queue again is told once."""

    name = "chat"

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def notify(self, notice: Notice, *, after_seconds: float = 0.0) -> None:
        text = notice.text[:MAX_TEXT_CHARACTERS]
        told = JobNotice(id=notice.id, incident=notice.incident.id, what=notice.kind, text=text)
        await self.put(told, after_seconds=after_seconds)

    async def put(self, notice: JobNotice, *, after_seconds: float = 0.0) -> None:
        """Raises `StorageError` and `NotifyError`."""
        try:
            await self._queue.put(notice.model_dump_json(), visibility_timeout=after_seconds)
        except ValueError as error:
            raise NotifyError("The notice is too large for the queue", is_temporary=False) from error
