"""Passes of the job watch in processes of their own, over one stand-in Jobs API and one store, and their sums."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from app.databricks.jobs_api import JobsApi
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import JobPolicy
from app.jobs.notifications.notifier import Notice
from app.local.jobs_stand_in import JobsStandIn
from app.storage.factory import Storage, open_storage
from app.storage.storage_account import StorageAccount
from tests.fakes.job_service import JobService, job_service
from tests.fakes.workspaces import workspace_at
from tests.jobs.watching.watch_harness import WORKSPACE, RecordingNotifier, Watcher

_PROCESSES = multiprocessing.get_context("forkserver")
_NO_BREAKER = 1_000_000


class _FileNotifier(RecordingNotifier):
    """Writes a line for each notice, as often as it is told."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    async def notify(self, notice: Notice) -> None:
        with self._path.open("a") as file:
            file.write(f"{notice.id} {notice.kind}\n")


@dataclass(frozen=True, slots=True)
class _Order:
    url: str
    where: Path | StorageAccount
    told: Path
    policy: JobPolicy
    now: float


@dataclass(frozen=True, slots=True)
class Sums:
    """`repaired_again`: runs with more than one repair. `in_two_incidents`: failures that more than one incident names.
    `told`: how many notices of each kind there were, one that was told again once.
    """

    decisions: int
    missed: int
    decided_again: int
    repairs: int
    repaired_again: int
    incidents: int
    in_two_incidents: int
    told: dict[str, int]


class WatchProcesses:
    """`jobs` is the stand-in, whose clock all processes begin with."""

    def __init__(self, jobs: JobService, where: Path | StorageAccount, told: Path, policy: JobPolicy) -> None:
        self.jobs = jobs
        self._where, self._told, self._policy = where, told, policy
        self._storage: Storage = open_storage(where)

    def start(self) -> BaseProcess:
        """A process that makes one pass."""
        order = _Order(self.jobs.url, self._where, self._told, self._policy, self.jobs.now)
        process = _PROCESSES.Process(target=_make_pass, args=(order,), daemon=True)
        process.start()
        return process

    async def run(self, count: int = 1) -> None:
        """So many passes at once."""
        processes = [self.start() for _ in range(count)]
        for process in processes:
            await asyncio.to_thread(process.join)
        assert [process.exitcode for process in processes] == [0] * count

    async def kill_at(self, call: str, times: int) -> bool:
        """Makes a pass that is ended by SIGKILL when the stand-in was called so often; False where it ended before."""
        before = self.jobs.stand_in.calls[call]
        process = self.start()
        ended = asyncio.create_task(asyncio.to_thread(process.join))
        while not ended.done() and self.jobs.stand_in.calls[call] < before + times:
            await asyncio.wait([ended], timeout=0.002)
        process.kill()
        await ended
        return process.exitcode != 0

    async def sums(self, failed: Collection[int]) -> Sums:
        w = Watcher(self.jobs, self._storage.documents)
        history = [record for record in await w.history() if record.run_id in failed]
        decided = {record.key for record in history}
        incidents = IncidentStore(self._storage.documents, workspace=WORKSPACE)
        found = [await incidents.find(id_) for id_ in {record.incident_id for record in history}]
        named = Counter(run.key for incident in found if incident is not None for run in incident.runs)
        repairs = Counter(each["run_id"] for each in self.jobs.stand_in.repairs)
        return Sums(
            decisions=len(history),
            missed=len(set(failed) - {record.run_id for record in history}),
            decided_again=len(history) - len(decided),
            repairs=repairs.total(),
            repaired_again=sum(count > 1 for count in repairs.values()),
            incidents=len(found),
            in_two_incidents=sum(count > 1 for count in named.values()),
            told=self._told_by_kind(),
        )

    def _told_by_kind(self) -> dict[str, int]:
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return dict(Counter(line.split()[1] for line in set(lines)))

    async def close(self) -> None:
        await self._storage.close()


@asynccontextmanager
async def watch_processes(
    folder: Path, policy: JobPolicy, where: StorageAccount | None = None
) -> AsyncIterator[WatchProcesses]:
    """With a store in `folder` unless it is somewhere else."""
    _PROCESSES.set_forkserver_preload([__name__])
    async with job_service() as jobs:
        processes = WatchProcesses(jobs, where or folder / "store.db", folder / "told.txt", policy)
        yield processes
        await processes.close()


def _make_pass(order: _Order) -> None:
    asyncio.run(_pass(order))


async def _pass(order: _Order) -> None:
    jobs = JobService(JobsStandIn)
    jobs.now = order.now
    storage = open_storage(order.where)
    async with workspace_at(order.url) as workspace:
        jobs.api = JobsApi(workspace)
        notifier = _FileNotifier(order.told)
        w = Watcher(jobs, storage.documents, policy=order.policy, notifier=notifier, breaker_jobs=_NO_BREAKER)
        await w.watch().run_pass()
    await storage.close()
