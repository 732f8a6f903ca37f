"""The incidents of a workspace, in the store; each is due when a pass has to look at it again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from app.common.concurrency import gather_or_cancel
from app.jobs.incidents.incident import Incident
from app.jobs.runs.run_failure import RunFailure
from app.storage.documents import (
    MAX_DOCUMENT_CHARACTERS,
    MAX_PAGE_SIZE,
    Collection,
    Document,
    DocumentKey,
    DocumentStore,
)
from app.storage.storage_errors import ConcurrentUpdateError

INCIDENTS: Final = Collection("job_incidents", retention_days=400)
OPEN_INCIDENTS: Final = Collection("job_open_incidents", retention_days=400)
"""By job and fingerprint: the id of the incident that a further failure belongs to."""

MAX_RUNS: Final = 100
"""That an incident names; `run_count` counts them all."""
_MAX_TASKS = 10
_MAX_TRACE_CHARACTERS = 2_000
_MAX_PARAMETERS = 50
_SHORT_NAME = 40
_MAX_TRIES = 8
# What a newer version wrote is looked at again after that.
_UNREADABLE_SECONDS = 3600.0

_log = logging.getLogger(__name__)


def incident_id(workspace: str, run_key: str) -> str:
    """The same for the same first run, so that a pass that is repeated after a crash opens no second incident."""
    return hashlib.sha256(f"{workspace}\n{run_key}".encode()).hexdigest()[:24]


def stored_failure(failure: RunFailure) -> RunFailure:
    """Such that an incident fits into one document. A retry therefore takes the parameters from the run itself."""
    tasks = tuple(replace(task, trace=task.trace[:_MAX_TRACE_CHARACTERS]) for task in failure.tasks[:_MAX_TASKS])
    parameters = dict(list(failure.parameters.items())[:_MAX_PARAMETERS])
    is_whole = failure.has_all_parameters and len(parameters) == len(failure.parameters)
    return replace(failure, tasks=tasks, parameters=parameters, has_all_parameters=is_whole)


class IncidentStore:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, workspace: str) -> None:
        self._documents = documents
        self._workspace = workspace

    async def find(self, id_: str) -> Incident | None:
        document = await self._documents.get(self._key(id_))
        return None if document is None else _parse(document)

    async def create(self, incident: Incident) -> Incident:
        """The incident, or the one with its id that was there before."""
        # First, so that there is no incident which some of its jobs do not lead to.
        await self._index(incident)
        try:
            await self._documents.put(_document(self._key(incident.id), incident))
        except ConcurrentUpdateError:
            incident = await self.find(incident.id) or incident
            await self._index(incident)
        return incident

    async def update(self, id_: str, change: Callable[[Incident], Incident | None]) -> Incident | None:
        """What `change` made of the incident as it is now; it is called again if another worker wrote meanwhile, and
        returns None to leave the incident alone. None where there is no incident, or it was left alone.

        Raises `ConcurrentUpdateError` after some tries.
        """
        for remaining in reversed(range(_MAX_TRIES)):
            document = await self._documents.get(self._key(id_))
            incident = None if document is None else _parse(document)
            changed = None if incident is None else change(incident)
            if document is None or changed is None:
                return None
            if not changed.state.is_closed and _entries(changed) != _entries(incident):
                await self._index(changed)
            try:
                await self._documents.put(replace(_document(document.key, changed), version=document.version))
            except ConcurrentUpdateError:
                if not remaining:
                    raise
                continue
            if changed.state.is_closed:
                await self._index(changed)
            return changed
        return None

    async def find_open(self, job_id: int, error_fingerprint: str) -> Incident | None:
        document = await self._documents.get(self._open_key(job_id, error_fingerprint))
        incident = None if document is None else await self.find(document.value)
        return None if incident is None or incident.state.is_closed else incident

    async def open_of_job(self, job_id: int) -> list[Incident]:
        return await self._open(f"{job_id}/")

    async def open(self) -> list[Incident]:
        """Of all jobs, at most `MAX_PAGE_SIZE`."""
        return await self._open("")

    async def due(self, now: float, *, limit: int = 100) -> list[Incident]:
        """Those that a pass has to look at, earliest first."""
        found = []
        for document in await self._due_documents(now, limit):
            if (incident := _parse(document)) is not None:
                found.append(incident)
            else:
                with suppress(ConcurrentUpdateError):
                    await self._documents.put(replace(document, due_at=now + _UNREADABLE_SECONDS))
        return found

    async def _due_documents(self, now: float, limit: int) -> list[Document]:
        """However much is due of other workspaces that share the store."""
        asked = limit
        while True:
            documents = await self._documents.due_before(INCIDENTS, now, limit=asked)
            mine = [document for document in documents if document.key.tenant == self._workspace]
            if len(mine) >= limit or len(documents) < asked:
                return mine[:limit]
            asked *= 2

    async def _open(self, prefix: str) -> list[Incident]:
        page = await self._documents.list_page(OPEN_INCIDENTS, self._workspace, prefix=prefix, limit=MAX_PAGE_SIZE)
        ids = dict.fromkeys(document.value for document in page.documents)
        found = [await self.find(id_) for id_ in ids]
        return [incident for incident in found if incident is not None and not incident.state.is_closed]

    async def _index(self, incident: Incident) -> None:
        """An entry that a crash leaves behind is recognised by the incident, which is closed or missing."""
        await gather_or_cancel(self._index_job(job_id, incident) for job_id in incident.job_ids)

    async def _index_job(self, job_id: int, incident: Incident) -> None:
        key = self._open_key(job_id, incident.error_fingerprint)
        document = await self._documents.get(key)
        if incident.state.is_closed:
            if document is not None and document.value == incident.id:
                await self._documents.delete_unchanged(document)
        elif document is None or document.value != incident.id:
            with suppress(ConcurrentUpdateError):
                version = "" if document is None else document.version
                await self._documents.put(Document(key, incident.id, version=version))

    def _key(self, id_: str) -> DocumentKey:
        return DocumentKey(INCIDENTS, self._workspace, id_)

    def _open_key(self, job_id: int, error_fingerprint: str) -> DocumentKey:
        return DocumentKey(OPEN_INCIDENTS, self._workspace, f"{job_id}/{error_fingerprint}")


def _document(key: DocumentKey, incident: Incident) -> Document:
    bounded = incident.model_copy(
        update={"failure": stored_failure(incident.failure), "runs": incident.runs[:MAX_RUNS]}
    )
    value = bounded.model_dump_json()
    if len(value) > MAX_DOCUMENT_CHARACTERS:
        value = _bare(bounded).model_dump_json()
    return Document(key, value, incident.due_at_seconds)


def _entries(incident: Incident | None) -> tuple[str, ...]:
    if incident is None or incident.state.is_closed:
        return ()
    return (incident.error_fingerprint, *map(str, incident.job_ids))


def _bare(incident: Incident) -> Incident:
    """Without what can be read in Databricks, and the retries that came before the last proposal."""
    runs = [run.model_copy(update={"url": "", "job_name": run.job_name[:_SHORT_NAME]}) for run in incident.runs]
    last = incident.proposal.id if incident.proposal is not None else ""
    failure = incident.failure
    is_whole = failure.has_all_parameters and not failure.parameters
    changes = {
        "failure": replace(failure, tasks=failure.tasks[:1], parameters={}, has_all_parameters=is_whole),
        "runs": tuple(runs),
        "retries": tuple(each for each in incident.retries if not each.outcome or each.proposal == last),
    }
    return incident.model_copy(update=changes)


def _parse(document: Document) -> Incident | None:
    try:
        return Incident.model_validate_json(document.value)
    except ValidationError:
        _log.warning("A stored incident cannot be read by this version")
        return None
