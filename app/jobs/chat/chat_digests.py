"""The digest of a day in the chats that watch jobs: each gets what happened to its own, in its language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.content.data_text import as_data
from app.jobs.chat.incident_message import link_url
from app.jobs.chat.watches import Watches, chat_digest
from app.jobs.incidents import incident_sentences as sentences
from app.jobs.incidents.incident import Incident
from app.jobs.notifications.digest import Digest, DigestLine, DigestPeriod, DigestSection, digest_of
from app.jobs.runs.look import EndedRun
from app.storage.queue import Queue
from app.translation import Translator, translator_for

# Five sections fit into one message of Teams.
_MAX_SECTION_CHARACTERS = 3_000


class _QueueMessage(BaseModel):
    """As `app/bot/proactive_messages.py` delivers it."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    kind: Literal["proactive_message"] = "proactive_message"
    id: str
    tenant: str
    conversation: str
    text: str


class ChatDigests:
    def __init__(self, watches: Watches, queue: Queue) -> None:
        self._watches = watches
        self._queue = queue

    async def put(
        self, incidents: Sequence[Incident], with_failures: Sequence[EndedRun], period: DigestPeriod, *, workspace: str
    ) -> None:
        """On the bot's queue; nothing for chats whose jobs had a quiet day. What is put twice is told once.

        Raises `StorageError`.
        """
        for key, watches in (await self._watches.by_chat()).items():
            job_ids = {watch.job_id for watch in watches}
            mine = [incident for incident in incidents if not job_ids.isdisjoint(incident.job_ids)]
            runs = [run for run in with_failures if run.job_id in job_ids]
            translate = translator_for(watches[0].locale)
            digest = digest_of(mine, runs, period, workspace=workspace, translate=translate)
            if digest.sections:
                message = _QueueMessage(
                    id=f"{digest.id}/{chat_digest(key)}",
                    tenant=key.tenant,
                    conversation=key.conversation,
                    text=digest_markdown(digest, translate),
                )
                await self._queue.put(message.model_dump_json(), visibility_timeout=0.0)


def digest_markdown(digest: Digest, translate: Translator) -> str:
    sections = [_section(section, translate(sentences.RUN)) for section in digest.sections]
    return "\n\n".join([f"**{as_data(digest.title)}**", *sections])


def _section(section: DigestSection, run: str) -> str:
    lines = [_line(line, run) for line in section.lines]
    while len(lines) > 1 and sum(map(len, lines)) > _MAX_SECTION_CHARACTERS:
        lines.pop()
    if left_out := section.left_out(len(lines)):
        lines.append(f"- {left_out}")
    return f"**{as_data(section.title)} ({section.count})**\n\n" + "\n".join(lines)


def _line(line: DigestLine, run: str) -> str:
    # No name is the text of a link: Markdown differs in what may stand there.
    link = f" ([{run}]({link_url(line.url)}))" if line.url else ""
    return f"- **{as_data(line.job)}**{link}: {as_data(line.text)}"
