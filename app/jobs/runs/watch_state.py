"""What a watch remembers from one look to the next, in the store or, without one, in this process."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from app.jobs.runs.run_summary import RunSummary
from app.jobs.runs.watched_jobs import JobSelection
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

WATCH_STATE: Final = Collection("job_watch_state", retention_days=100)

# What is in one document together fits into it, with ids of 19 digits.
_MAX_HANDLED = 1_000
_MAX_OPEN_RUNS = 800
_MAX_STREAKS = 250
MAX_SCHEDULES = 800
_MAX_TOLD = 300
_MAX_JOBS_WITH_DURATIONS = 1_000
_MAX_DURATIONS = 5
_MAX_TRIES = 8

_log = logging.getLogger(__name__)
_Stored = TypeVar("_Stored", bound=BaseModel)
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class FailureStreak(NamedTuple):
    """Failed runs of a job in a row; `ended_ms` and `run_id` are those of the last one."""

    failures: int
    ended_ms: int
    run_id: int


class RunsState(BaseModel):
    """`since_ms`: what ended until then is not looked at again; 0 before the first look. `handled`: by run id, the end
    of what ended later and needs no more attention. `open_runs` had not ended, or may get another attempt. `listed`:
    how many runs the last look listed.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    since_ms: int = 0
    listed: int | None = None
    handled: Mapping[int, int] = {}
    open_runs: tuple[int, ...] = ()
    streaks: Mapping[int, FailureStreak] = {}

    def is_new(self, run: RunSummary) -> bool:
        if not run.has_ended or self.handled.get(run.run_id) == run.ended_ms:
            return False
        return run.ended_ms > self.since_ms or run.run_id in self.open_runs

    def bounded(self) -> RunsState:
        """So small that it can be stored."""
        kept = sorted(
            ((end, run_id) for run_id, end in self.handled.items() if end > self.since_ms), key=lambda item: item[0]
        )
        dropped, kept = kept[:-_MAX_HANDLED], kept[-_MAX_HANDLED:]
        streaks = sorted(self.streaks.items(), key=lambda item: item[1].ended_ms)[-_MAX_STREAKS:]
        changes = {
            "since_ms": dropped[-1][0] if dropped else self.since_ms,
            "handled": {run_id: end for end, run_id in kept},
            "streaks": dict(streaks),
            # Run ids grow with time: the smallest are those that a list may no longer show.
            "open_runs": tuple(sorted(self.open_runs)[:_MAX_OPEN_RUNS]),
        }
        return self.model_copy(update=changes)


class LateSince(NamedTuple):
    """The first time of which no run has begun."""

    due_ms: int
    never_started: bool


class ScheduleSeen(NamedTuple):
    """`digest` is that of the schedule; `since_ms` is when a look found it changed, 0 if none did; `begun_ms` is when
    the last run began that a look has seen.
    """

    digest: str
    since_ms: int
    begun_ms: int = 0


class JobsState(BaseModel):
    """By job id: late jobs that were told; schedules, of the first `MAX_SCHEDULES` jobs. `long_runs`: by run id, since
    when a long run that was told has been running.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    late: Mapping[int, LateSince] = {}
    long_runs: Mapping[int, int] = {}
    schedules: Mapping[int, ScheduleSeen] = {}

    def bounded(self) -> JobsState:
        """So small that it can be stored."""
        changes = {
            "late": _newest(self.late, _MAX_TOLD),
            "long_runs": _newest(self.long_runs, _MAX_TOLD),
            "schedules": dict(list(self.schedules.items())[:MAX_SCHEDULES]),
        }
        return self.model_copy(update=changes)


class DurationsState(BaseModel):
    """By job id, how many seconds its last successful runs took, the newest last, of those that ended until `until_ms`;
    the jobs whose runs ended last come last.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    until_ms: int = 0
    seconds: Mapping[int, tuple[int, ...]] = {}

    def bounded(self) -> DurationsState:
        """So small that it can be stored."""
        jobs = _newest(self.seconds, _MAX_JOBS_WITH_DURATIONS)
        return self.model_copy(update={"seconds": {job_id: each[-_MAX_DURATIONS:] for job_id, each in jobs.items()}})


class WatchState(NamedTuple):
    runs: RunsState = RunsState()
    jobs: JobsState = JobsState()
    durations: DurationsState = DurationsState()


class WatchStateStore:
    """Of the jobs of one selection: others are watched from their own beginning. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore | None, *, workspace: str, selection: JobSelection) -> None:
        self._documents = documents
        self._in_memory = WatchState()
        name = hashlib.sha256(repr(selection).encode()).hexdigest()[:16]
        self._runs_key = DocumentKey(WATCH_STATE, workspace, f"{name}/runs")
        self._jobs_key = DocumentKey(WATCH_STATE, workspace, f"{name}/jobs")
        self._durations_key = DocumentKey(WATCH_STATE, workspace, f"{name}/durations")

    async def load(self) -> WatchState:
        if self._documents is None:
            return self._in_memory
        return WatchState(
            _parse(await self._documents.get(self._runs_key), RunsState),
            _parse(await self._documents.get(self._jobs_key), JobsState),
            _parse(await self._documents.get(self._durations_key), DurationsState),
        )

    async def save(self, state: WatchState) -> None:
        """Keeps what another watch of the same jobs has handled since `state` was made."""
        if self._documents is None:
            self._in_memory = state._replace(runs=_merged(self._in_memory.runs, state.runs))
            return
        await self._save_runs(self._documents, state.runs)
        await _put(self._documents, self._jobs_key, state.jobs)
        await _put(self._documents, self._durations_key, state.durations)

    async def _save_runs(self, documents: DocumentStore, runs: RunsState) -> None:
        for remaining in reversed(range(_MAX_TRIES)):
            stored = await documents.get(self._runs_key)
            merged = _merged(_parse(stored, RunsState), runs)
            document = stored or Document(self._runs_key, "")
            try:
                await documents.put(replace(document, value=merged.model_dump_json()))
                return
            except ConcurrentUpdateError:
                if not remaining:
                    raise


async def _put(documents: DocumentStore, key: DocumentKey, state: BaseModel) -> None:
    """The last one wins: it is advice, which the next look makes anew."""
    stored, value = await documents.get(key), state.model_dump_json()
    if stored is not None and stored.value == value:
        return
    try:
        await documents.put(replace(stored or Document(key, ""), value=value))
    except ConcurrentUpdateError:
        _log.info("Another watch of the same jobs saved its look in the same moment")


def _merged(stored: RunsState, mine: RunsState) -> RunsState:
    newer, older = (stored, mine) if stored.since_ms > mine.since_ms else (mine, stored)
    handled = {
        run_id: max(newer.handled.get(run_id, 0), older.handled.get(run_id, 0))
        for run_id in {**older.handled, **newer.handled}
    }
    return newer.model_copy(update={"handled": handled}).bounded()


def _parse(document: Document | None, kind: type[_Stored]) -> _Stored:
    if document is not None:
        try:
            return kind.model_validate_json(document.value)
        except ValidationError:
            _log.warning("The state of a watch cannot be read by this version, so it begins anew")
    return kind()


def _newest(values: Mapping[_Key, _Value], most: int) -> dict[_Key, _Value]:
    return dict(list(values.items())[-most:])
