"""`job-watch run` and `job-watch approve`."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping
from typing import Any

from app.databricks.workspace_errors import WorkspaceError
from app.jobs.approval import ApprovalError, approve
from app.jobs.clean_text import clean_line
from app.jobs.commands.command_io import CommandError, print_line, store_of
from app.jobs.databricks_agent import DatabricksAgent
from app.jobs.databricks_connector import DatabricksConnector
from app.jobs.email_notifier import EmailNotifier
from app.jobs.environment import WatchSettings
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.incidents.incident import IncidentState
from app.jobs.pass_loop import Heartbeat, PassLoop
from app.jobs.watching.failure_reader import Strategies
from app.jobs.watching.open_watch import build_watch, open_store

_NAME = 100
_SENTENCE = 200


async def run_passes(settings: WatchSettings, every_seconds: int | None, *, prints_json: bool) -> None:
    """One pass, or one every `every_seconds` until SIGTERM. Raises `WorkspaceError` and `StorageError` for one pass."""
    # One for all passes: it holds to the hourly cap of calls of the model.
    agent = DatabricksAgent(
        databricks_connector=DatabricksConnector(settings), email_notifier=_email_notifier(settings)
    )
    url = settings.job_watch.heartbeat_url
    beat = Heartbeat(url).beat if url is not None else None

    async def run_pass() -> None:
        summary = await agent.monitor_jobs_async()
        print_line(json.dumps(summary) if prints_json else "\n".join(_summary_lines(summary)))

    if every_seconds is not None:
        passes = PassLoop(run_pass, every_seconds, beat=beat)
        passes.stop_at_signals()
        await passes.run()
        return
    await run_pass()
    if beat is not None:
        await beat()


async def approve_retry(settings: WatchSettings, id_: str) -> None:
    """Raises `CommandError`, and `StorageError`."""
    store_of(settings)
    async with DatabricksConnector(settings).open() as workspace, open_store(settings) as store:
        # Nothing is decided here, so no model is needed.
        strategies = Strategies(ErrorDecisionEngine(None))
        opened = build_watch(settings, workspace.jobs, store, strategies, email=_email_notifier(settings))
        try:
            incident = await approve(opened.incidents, id_, _user_name())
        except ApprovalError as error:
            raise CommandError(str(error)) from error
        try:
            begun = await opened.begin_retry(incident.id) or incident
        except WorkspaceError as error:
            print_line(
                f"Approved for {incident.job_name}. The retry could not be begun now ({error}): the next pass does."
            )
            return
    print_line(f"Approved for {incident.job_name}: the incident is {begun.state}.")


def _email_notifier(settings: WatchSettings) -> EmailNotifier | None:
    return EmailNotifier() if settings.mail.is_configured else None


def _summary_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """What a pass did, for people: each incident that it opened or changed, as it is now."""
    at = summary["actions"]["skipped"]["at"]
    for incident in summary["incidents"]:
        runs = "" if incident["runs"] < 2 else f" ({incident['runs']} runs)"
        job = clean_line(incident["job_name"], _NAME) or f"job {incident['job_id']}"
        cause = clean_line(incident["cause"], _SENTENCE)
        yield f"{at} {job}{runs}: {incident['state']}. {cause}"
        if incident["state"] == IncidentState.PROPOSED:
            yield f"    job-watch approve {incident['incident_id']}"
    if not summary["incidents"]:
        yield f"{at} Nothing new."
    yield from summary["notes"]


def _user_name() -> str:
    try:
        return f"{getpass.getuser()} on the command line"
    except (OSError, KeyError, ImportError):
        # A container's user may have no name.
        return "the command line"
