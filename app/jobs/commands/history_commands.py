"""`job-watch history`, `job-watch dashboard` and `job-watch serve`."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from contextlib import suppress
from typing import Literal

from app.jobs.commands.command_io import CommandError, say, store_of, write_whole
from app.jobs.environment import WatchSettings
from app.jobs.history.dashboard import dashboard_page
from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.history.event_server import EventServer, EventServerError
from app.jobs.history.history_events import HistoryEvents
from app.jobs.history.history_export import HistoryExportError, to_csv, to_json, write_delta
from app.jobs.history.history_reading import DAY_SECONDS, read_history
from app.jobs.incidents.incident_store import IncidentStore
from app.storage.factory import open_storage


async def export_history(
    settings: WatchSettings, format_: Literal["csv", "json", "delta"], output: str, *, days: int, job_id: int | None
) -> None:
    """To stdout where `output` is empty. Raises `CommandError` and `StorageError`."""
    if format_ == "delta" and not output:
        raise CommandError("A Delta table needs its place: put --output.")
    records = await _records(settings, days, job_id)
    try:
        if format_ == "delta":
            await asyncio.to_thread(write_delta, output, records)
        else:
            text = to_csv(records) if format_ == "csv" else to_json(records)
            await asyncio.to_thread(_write, text, output)
    except (HistoryExportError, OSError) as error:
        raise CommandError(f"The history could not be written: {error}") from error
    if output:
        say(f"{len(records)} decisions are in {output}.")


async def write_dashboard(settings: WatchSettings, output: str, *, days: int, job_id: int | None) -> None:
    """Raises `CommandError` and `StorageError`."""
    now = time.time()
    records = await _records(settings, days, job_id)
    page = dashboard_page(
        records, workspace=settings.workspace_url, since_seconds=now - days * DAY_SECONDS, until_seconds=now
    )
    try:
        await asyncio.to_thread(write_whole, page, output)
    except OSError as error:
        raise CommandError(f"The dashboard could not be written: {error}") from error
    say(f"The dashboard is in {output}.")


async def serve_events(settings: WatchSettings, address: str, port: int) -> None:
    """Until SIGTERM or Ctrl-C. Raises `CommandError` and `StorageError`."""
    configured = settings.job_watch.events_token
    token = configured.get_secret_value() if configured is not None else secrets.token_urlsafe(24)
    storage = open_storage(store_of(settings))
    try:
        workspace = settings.workspace_url
        records = DecisionRecords(storage.documents, workspace=workspace)
        source = HistoryEvents(records, IncidentStore(storage.documents, workspace=workspace))
        async with EventServer(source, token).running(address, port) as url:
            say(f"Events are at {url}.")
            if configured is None:
                say(f"JOB_EVENTS_TOKEN is not set; until this ends the token is {token}")
            await _until_stopped()
    except EventServerError as error:
        raise CommandError(str(error)) from error
    finally:
        await storage.close()


async def _until_stopped() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Elsewhere Ctrl-C raises KeyboardInterrupt.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()


async def _records(settings: WatchSettings, days: int, job_id: int | None) -> list[DecisionRecord]:
    now = time.time()
    storage = open_storage(store_of(settings))
    try:
        records = DecisionRecords(storage.documents, workspace=settings.workspace_url)
        return await read_history(records, now - days * DAY_SECONDS, now, job_id=job_id)
    finally:
        await storage.close()


def _write(text: str, output: str) -> None:
    if output:
        write_whole(text, output)
    else:
        sys.stdout.write(text)
