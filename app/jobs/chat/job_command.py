"""What `/watch`, `/unwatch` and `/jobs` do in a chat."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.common.caller import Caller
from app.content.data_text import as_data
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceError, WorkspaceNotFoundError, WorkspacePermissionError
from app.jobs.chat import job_sentences as sentences
from app.jobs.chat.job_notice import ChatNotifier, JobNotice
from app.jobs.chat.job_viewers import Asker, Job, JobViewers, UnknownAskerError
from app.jobs.chat.watches import MAX_WATCHES, TooManyWatchesError, Watch, Watches, chat_digest
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore
from app.messaging.conversation_references import PRIVATE_THREAD, ConversationReferences
from app.storage.conversations import ConversationKey
from app.translation import Translator, translator_for

if TYPE_CHECKING:
    from app.content.blocks import Block

_log = logging.getLogger(__name__)

_MAX_NAME_CHARACTERS = 300
_MAX_CANDIDATES = 5
_MAX_ID_DIGITS = 18
_AFTER_THE_ANSWER_SECONDS = 2.0
_QUOTES = "`\"'“”„«»‘’「」 "


@dataclass(frozen=True, slots=True)
class JobRequest:
    """`words` is what follows the command."""

    conversation: ConversationKey
    caller: Caller
    locale: str
    words: str


@dataclass(frozen=True, slots=True)
class JobAnswer:
    text: str
    blocks: tuple[Block, ...] = ()


class JobCommand:
    """Every method raises `StorageError`."""

    def __init__(
        self,
        api: JobsApi,
        watches: Watches,
        incidents: IncidentStore,
        viewers: JobViewers,
        references: ConversationReferences,
        notifier: ChatNotifier,
    ) -> None:
        self._api = api
        self._watches = watches
        self._incidents = incidents
        self._viewers = viewers
        self._references = references
        self._notifier = notifier

    async def watch(self, request: JobRequest) -> JobAnswer:
        translate = translator_for(request.locale)
        wanted = _name_in(request.words)
        if not wanted:
            return await self._list(request, translate)
        # The first message of a conversation may have brought its reference a moment ago.
        await self._references.flush()
        if not await self._references.can_write_to(request.conversation):
            return JobAnswer(translate(sentences.NOT_HERE))
        try:
            asker = await self._viewers.identify(request.conversation, request.caller)
            jobs = await self._visible_jobs(wanted, asker)
        except UnknownAskerError as refusal:
            return JobAnswer(translate(refusal.sentence))
        except WorkspaceError as failure:
            _log.warning("A job to be watched could not be looked up (%s)", type(failure).__name__)
            return JobAnswer(translate(sentences.WORKSPACE_UNAVAILABLE))
        if not jobs:
            return JobAnswer(translate(sentences.NO_SUCH_JOB, job=as_data(wanted)))
        if len(jobs) > 1:
            return _which(jobs, translate)
        return await self._watch(jobs[0], request, translate)

    async def unwatch(self, request: JobRequest) -> JobAnswer:
        translate = translator_for(request.locale)
        wanted = _name_in(request.words)
        if not wanted:
            return await self._list(request, translate)
        watched = await self._watches.of_chat(request.conversation)
        found = [watch for watch in watched if str(watch.job_id) == wanted] or [
            watch for watch in watched if watch.job_name.casefold() == wanted.casefold()
        ]
        for watch in found:
            await self._watches.remove(watch.job_id, watch.key)
        if not found:
            return JobAnswer(translate(sentences.NOT_WATCHED, job=as_data(wanted)))
        return JobAnswer(translate(sentences.UNWATCHED, job=as_data(found[0].job_name)))

    async def jobs(self, request: JobRequest) -> JobAnswer:
        """The jobs that the chat watches, and their open incidents."""
        return await self._list(request, translator_for(request.locale))

    async def _watch(self, job: Job, request: JobRequest, translate: Translator) -> JobAnswer:
        chat = request.conversation
        watch = Watch(
            job_id=job.id,
            job_name=job.name,
            tenant=chat.tenant,
            conversation=chat.conversation,
            locale=request.locale,
        )
        try:
            is_new = await self._watches.add(watch)
        except TooManyWatchesError:
            return JobAnswer(translate(sentences.TOO_MANY, count=MAX_WATCHES))
        if is_new:
            await self._tell_open_incidents(watch)
        said = sentences.WATCHED if is_new else sentences.WATCHED_ALREADY
        return JobAnswer(translate(said, job=as_data(job.name)), (_buttons([watch], translate),))

    async def _tell_open_incidents(self, watch: Watch) -> None:
        """What failed before anybody here watched waits for a decision all the same."""
        for incident in await self._incidents.open_of_job(watch.job_id):
            notice = JobNotice(
                id=f"watch-{incident.id}-{chat_digest(watch.key)}",
                incident=incident.id,
                what="opened",
                tenant=watch.tenant,
                conversation=watch.conversation,
            )
            await self._notifier.put(notice, after_seconds=_AFTER_THE_ANSWER_SECONDS)

    async def _visible_jobs(self, wanted: str, asker: Asker) -> list[Job]:
        """By the id, or else by the whole name."""
        jobs = await self._job_of_id(wanted)
        if not jobs:
            async for found in self._api.jobs(name=wanted):
                jobs.append(Job.of(found))
                if len(jobs) > 4 * _MAX_CANDIDATES:
                    break
        visible = await self._viewers.visible(asker, jobs)
        return [job for job in jobs if job.id in visible][:_MAX_CANDIDATES]

    async def _job_of_id(self, wanted: str) -> list[Job]:
        if not wanted.isascii() or not wanted.isdigit() or len(wanted) > _MAX_ID_DIGITS:
            return []
        try:
            found = await self._api.job(int(wanted))
        except (WorkspaceNotFoundError, WorkspacePermissionError):
            return []
        return [Job.of(found, int(wanted))]

    async def _list(self, request: JobRequest, translate: Translator) -> JobAnswer:
        if PRIVATE_THREAD in request.conversation.thread:
            return JobAnswer(translate(sentences.NOT_HERE))
        watched = await self._watches.of_chat(request.conversation)
        if not watched:
            return JobAnswer(f"{translate(sentences.NONE_WATCHED)} {translate(sentences.USAGE)}")
        incidents = await self._incidents.open()
        shown = _table(watched, incidents, translate)
        return JobAnswer(translate(sentences.LISTED), (shown, _buttons(watched, translate)))


def _name_in(words: str) -> str:
    return " ".join(words.split())[:_MAX_NAME_CHARACTERS].strip(_QUOTES)


def _which(jobs: Sequence[Job], translate: Translator) -> JobAnswer:
    from app.content.blocks import Actions  # noqa: PLC0415
    from app.messaging.actions import ask_button  # noqa: PLC0415

    buttons = tuple(ask_button(f"{job.name} ({job.id})", f"/watch {job.id}") for job in jobs)
    return JobAnswer(translate(sentences.WHICH_JOB, job=as_data(jobs[0].name)), (Actions(buttons),))


def _buttons(watched: Sequence[Watch], translate: Translator) -> Block:
    from app.content.blocks import Actions  # noqa: PLC0415
    from app.messaging.actions import ask_button  # noqa: PLC0415

    title = sentences.UNWATCH_ONE if len(watched) == 1 else sentences.UNWATCH
    return Actions(
        tuple(ask_button(translate(title, job=each.job_name), f"/unwatch {each.job_id}") for each in watched[:6])
    )


def _table(watched: Sequence[Watch], incidents: Sequence[Incident], translate: Translator) -> Block:
    from app.content.blocks import Column, ColumnType, Table  # noqa: PLC0415
    from app.jobs.incidents.incident_facts import cause_of, state_of, time_text  # noqa: PLC0415

    columns = (
        Column(translate(sentences.JOB)),
        Column(translate(sentences.STATE)),
        Column(translate(sentences.CAUSE)),
        Column(translate(sentences.SINCE), ColumnType.TEXT),
    )
    rows = []
    for watch in watched:
        of_job = [each for each in incidents if watch.job_id in each.job_ids]
        for incident in of_job:
            since = time_text(incident.opened_at_seconds)
            rows.append((watch.job_name, state_of(incident, translate), cause_of(incident), since))
        if not of_job:
            rows.append((watch.job_name, translate(sentences.NOTHING_OPEN), "", ""))
    return Table(columns, tuple(rows))
