"""What starts a pass of the job watch in the Function App."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from app.composition import job_triggers
from app.composition.job_triggers import JobPasses, JobTriggers
from app.databricks.workspace_errors import WorkspacePermissionError
from app.settings.job_watch_settings import JobWatchSettings
from app.storage.factory import open_storage
from app.storage.storage_errors import StorageError
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.turns.queue_dispatcher import QueueDispatcher
from app.turns.queue_message import UnreadableMessageError

CREDENTIALS = {"JOB_NOTIFICATION_USERNAME": "databricks", "JOB_NOTIFICATION_PASSWORD": "a long password"}


class Passes:
    def __init__(self, *, hangs: bool = False, failure: Exception | None = None) -> None:
        self._failure = failure
        self.made: list[object] = []
        self._hangs = hangs

    async def run_pass(self) -> object:
        await asyncio.sleep(3600 if self._hangs else 0)
        self.made.append("all")
        return None

    async def begin_retry(self, incident_id: str) -> object:
        self.made.append(incident_id)
        return None

    async def run_pass_for(self, run_id: int) -> object:
        if self._failure is not None:
            raise self._failure
        self.made.append(run_id)
        return None


def triggers(folder: Path, passes: Passes, **settings: str) -> tuple[JobTriggers, list[object]]:
    imported: list[object] = []

    def make() -> JobPasses:
        imported.append(passes)
        return passes

    telemetry = Telemetry(Destination("agent", "1", "i"))
    queue = open_storage(folder / "store.sqlite").open_queue("turns")
    return JobTriggers(JobWatchSettings.model_validate(settings), make, queue, telemetry), imported


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({}, "0 */5 * * * *"),
        ({"JOB_WATCH_SCHEDULE": "0 0 * * * *"}, "0 0 * * * *"),
        ({"JOB_WATCH_SCHEDULE": "off"}, None),
    ],
)
def test_the_schedule_is_a_setting_and_nothing_is_made_before_it_is_due(
    tmp_path: Path, given: dict[str, str], schedule: str | None
) -> None:
    made, imported = triggers(tmp_path, Passes(), **given)
    assert (made.schedule, imported) == (schedule, [])


async def test_a_notification_makes_a_pass_over_its_run_through_the_queue(tmp_path: Path) -> None:
    passes = Passes()
    made, _ = triggers(tmp_path, passes, **CREDENTIALS)
    header = base64.b64encode(b"databricks:a long password").decode()
    body = json.dumps({"event_type": "jobs.on_failure", "run": {"run_id": 455116}}).encode()
    answer = await made.receive_notification("POST", {"Authorization": f"Basic {header}"}, body)
    assert (answer.status, passes.made) == (202, []), "Databricks waits for the pass"
    queue = open_storage(tmp_path / "store.sqlite").open_queue("turns")
    (message,) = await queue.receive(5, visibility_timeout=30)
    dispatcher = QueueDispatcher(Telemetry(Destination("agent", "1", "i")))
    made.register(dispatcher)
    await dispatcher.dispatch(message.body.encode())
    assert passes.made == [455116]
    with pytest.raises(UnreadableMessageError, match="run_id"):
        await dispatcher.dispatch(b'{"v": 1, "kind": "job_run", "run_id": "x"}')


@pytest.mark.parametrize(
    ("failure", "comes_again"),
    [(WorkspacePermissionError("no"), False), (TimeoutError(), False), (StorageError("away"), True)],
)
async def test_a_hint_that_leads_nowhere_is_left_to_the_next_pass(
    tmp_path: Path, failure: Exception, *, comes_again: bool
) -> None:
    made, _ = triggers(tmp_path, Passes(failure=failure))
    dispatcher = QueueDispatcher(Telemetry(Destination("agent", "1", "i")))
    made.register(dispatcher)
    dispatching = dispatcher.dispatch(b'{"v": 1, "kind": "job_run", "run_id": 1}')
    if comes_again:
        with pytest.raises(StorageError):
            await dispatching
    else:
        await dispatching


async def test_without_credentials_no_notification_is_taken(tmp_path: Path) -> None:
    made, _ = triggers(tmp_path, Passes())
    assert (await made.receive_notification("POST", {}, b"{}")).status == 404


async def test_a_pass_ends_before_the_host_ends_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = json.loads((Path(__file__).parents[2] / "host.json").read_text(encoding="utf-8"))["functionTimeout"]
    hours, minutes, seconds = (int(part) for part in timeout.split(":"))
    assert hours * 3600 + minutes * 60 + seconds - 30 > job_triggers.PASS_SECONDS
    monkeypatch.setattr(job_triggers, "PASS_SECONDS", 0.01)
    made, _ = triggers(tmp_path, Passes(hangs=True))
    with pytest.raises(TimeoutError):
        await made.run_pass()


async def test_the_timer_makes_a_pass_and_an_approval_begins_a_retry(tmp_path: Path) -> None:
    passes = Passes()
    made, imported = triggers(tmp_path, passes)
    await made.run_pass()
    await made.begin_retry("incident")
    assert (passes.made, len(imported)) == (["all", "incident"], 1)
