"""What was asked of each run, in the store that watchers share: the lock against two of them, and the memory of one
that died.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.jobs.repairs.repair_history import SAME_END_SECONDS
from app.jobs.repairs.repair_request import RepairRequest, RepairResult, StartedRetry
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

REPAIRS: Final = Collection("job_repairs", retention_days=400)

MAX_ENTRIES: Final = 50
"""Of one run, the latest of them."""
_MAX_TRIES = 8


class RepairEntry(BaseModel):
    """One request. `ended_at_seconds` is that of the attempt that it repairs, `latest_repair_id` that of the run when
    the request was made, 0 for none. `kind` is known before it is begun: "run" where a repair is not possible.

    `claimed_until_seconds` is 0 where nobody works on it. What we asked the service for was asked between
    `asked_from_seconds` and `asked_until_seconds`. `note` and `refusal` are sentences for a person.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    state: Literal["intended", "started", "refused"]
    ended_at_seconds: float
    latest_repair_id: int = 0
    claim_id: str = ""
    claimed_until_seconds: float = 0.0
    asked_from_seconds: float = 0.0
    asked_until_seconds: float = 0.0
    has_parameters: bool = False
    kind: Literal["repair", "run"] = "repair"
    run_id: int = 0
    repair_id: int = 0
    by_us: bool = True
    note: str = ""
    refusal: str = ""

    @property
    def started(self) -> StartedRetry | None:
        if self.state != "started":
            return None
        return StartedRetry(self.kind, self.run_id, self.repair_id, self.by_us)

    @property
    def result(self) -> RepairResult:
        return RepairResult(self.started, self.refusal, self.note if self.state == "started" else "")

    def is_of(self, ended_at_seconds: float) -> bool:
        return abs(self.ended_at_seconds - ended_at_seconds) <= SAME_END_SECONDS


class RunRepairs(BaseModel):
    """All that was asked of one run. `retries_before` and `retries_with_params_before` are those of the run that it was
    begun in place of.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    entries: tuple[RepairEntry, ...] = ()
    retries_before: int = 0
    retries_with_params_before: int = 0

    def find(self, id_: str) -> RepairEntry | None:
        return next((each for each in self.entries if each.id == id_), None)

    def intended_run(self, ended_at_seconds: float) -> RepairEntry | None:
        """The intent to begin a run in place of the attempt that ended then."""
        mine = (each for each in self.entries if each.is_of(ended_at_seconds))
        return next((each for each in mine if each.kind == "run" and each.state == "intended"), None)

    def asked_repairs(self, ended_at_seconds: float) -> list[RepairEntry]:
        """The requests for which the service may have been asked to repair the attempt that ended then."""
        mine = (each for each in self.entries if each.is_of(ended_at_seconds))
        return [each for each in mine if each.kind == "repair" and each.asked_until_seconds]

    def with_entry(self, entry: RepairEntry) -> RunRepairs:
        others = tuple(each for each in self.entries if each.id != entry.id)
        return self.model_copy(update={"entries": (*others, entry)[-MAX_ENTRIES:]})

    @property
    def retries(self) -> int:
        return self.retries_before + len(self._started())

    @property
    def retries_with_params(self) -> int:
        return self.retries_with_params_before + sum(self._started().values())

    def _started(self) -> dict[StartedRetry, bool]:
        """What we began, once where two requests name it, and whether that was with other parameters."""
        ours = (each for each in self.entries if each.by_us)
        return {started: each.has_parameters for each in ours if (started := each.started) is not None}


def new_entry(request: RepairRequest, now: float) -> RepairEntry:
    return RepairEntry(
        id=request.id,
        state="intended",
        ended_at_seconds=request.ended_at_seconds,
        asked_from_seconds=now,
        has_parameters=request.has_changes,
    )


class RepairLog:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, workspace: str) -> None:
        self._documents = documents
        self._workspace = workspace

    async def read(self, run_id: int) -> RunRepairs:
        return _parse(await self._documents.get(self._key(run_id)))

    async def change(self, run_id: int, change: Callable[[RunRepairs], RunRepairs | None]) -> RunRepairs | None:
        """What `change` made of it, in one conditional write; `change` is called again if another worker wrote
        meanwhile, and returns None to write nothing. None where nothing was written.
        """
        key = self._key(run_id)
        for _ in range(_MAX_TRIES):
            document = await self._documents.get(key)
            changed = change(_parse(document))
            if changed is None:
                return None
            new = Document(key, changed.model_dump_json()) if document is None else document
            try:
                await self._documents.put(replace(new, value=changed.model_dump_json()))
            except ConcurrentUpdateError:
                continue
            return changed
        raise StorageError("Other workers write the repairs of a run all the time")

    def _key(self, run_id: int) -> DocumentKey:
        return DocumentKey(REPAIRS, self._workspace, str(run_id))


def _parse(document: Document | None) -> RunRepairs:
    if document is None:
        return RunRepairs()
    try:
        return RunRepairs.model_validate_json(document.value)
    except ValidationError as error:
        # To act as if nothing had been asked could repeat a repair.
        raise StorageError("The repairs of a run were stored by another version") from error
