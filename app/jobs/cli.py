"""The command `job-watch`: passes of the job watch, approvals, and what it remembers. `job-watch --help` lists them.

Exit codes: 0, 1 for what failed, 2 for arguments or settings that are wrong, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.jobs.databricks_agent import DatabricksAgent
    from app.jobs.email_notifier import EmailNotifier
    from app.jobs.environment import WatchSettings
    from app.jobs.history.decision_record import DecisionRecord
    from app.storage.storage_account import StorageAccount

Command = Callable[[argparse.Namespace, "WatchSettings"], Coroutine[Any, Any, int]]

_FAILED, _WRONG_USE, _INTERRUPTED = 1, 2, 130
_MAX_DAYS = 400


def command() -> None:
    """What the console script and a Databricks job call: in a job also `sys.exit(0)` is a failure."""
    if code := main():
        sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # A line for every request would be most of the log.
    for name in ("httpx2", "azure"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from app.config import SettingsError  # noqa: PLC0415 - `--help` needs none of it
    from app.databricks.workspace_errors import WorkspaceError  # noqa: PLC0415
    from app.jobs.approval import ApprovalError  # noqa: PLC0415
    from app.jobs.environment import load_watch_settings  # noqa: PLC0415
    from app.storage.storage_errors import StorageError  # noqa: PLC0415

    try:
        carry_out: Command = options.command
        _add_to_environment(options)
        return asyncio.run(carry_out(options, load_watch_settings()))
    except SettingsError as error:
        _say(str(error))
        return _WRONG_USE
    except (ApprovalError, CommandError) as error:
        _say(str(error))
    except WorkspaceError as error:
        _say(f"The workspace could not be read: {error}")
    except StorageError as error:
        _say(f"The store could not be used: {error}")
    except KeyboardInterrupt:
        return _INTERRUPTED
    return _FAILED


class CommandError(Exception):
    """A command cannot be carried out; its text is a sentence for a person."""


def _add_to_environment(options: argparse.Namespace) -> None:
    """What the environment lacks, for all that reads settings. Raises `SettingsError`."""
    from app.config import SettingsError  # noqa: PLC0415
    from app.jobs.environment import read_env_file  # noqa: PLC0415

    file: Path | None = options.env_file
    if file is not None and not file.is_file():
        raise SettingsError([f"{file}: there is no such file of settings"])
    given = {} if file is None else read_env_file(file)
    if options.host and not os.environ.get("DATABRICKS_BASE_URL"):
        given.setdefault("DATABRICKS_HOST", options.host)
    os.environ.update({name: value for name, value in given.items() if not os.environ.get(name, "").strip()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="job-watch", description="Watches Databricks jobs; docs/jobs.md says how.")
    parser.add_argument("--env-file", type=Path, help="settings, one NAME=value a line; .env where it is left out")
    parser.add_argument("--host", default="", help="the workspace, where DATABRICKS_HOST is not set")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="look at the jobs once, or again and again")
    run.add_argument("--every", type=_seconds, metavar="30m", help="again and again, until SIGTERM: 90s, 30m, 2h, 1d")
    run.add_argument("--json", action="store_true", help="print the summary of each pass as a line of JSON")
    run.set_defaults(command=_run)

    approve = commands.add_parser("approve", help="approve the retry that an incident proposes")
    approve.add_argument("id", help="of the incident or of the proposal, as in the mail and the history")
    approve.set_defaults(command=_approve)

    history = commands.add_parser("history", help="what was decided about failed runs, and what became of it")
    history.add_argument("--format", choices=["csv", "json", "delta"], default="csv")
    history.add_argument("--output", metavar="FILE", help="a file, or for delta the path or URI of the table")
    _add_filters(history)
    history.set_defaults(command=_history)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=_days, default=30, help="of runs that ended in so many days (1 to 400, 30)")
    parser.add_argument("--job", type=int, metavar="ID", help="of this job alone")


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= _MAX_DAYS):
        raise argparse.ArgumentTypeError(f"a number of days from 1 to {_MAX_DAYS}")
    return int(text)


def _seconds(text: str) -> int:
    from app.jobs.pass_loop import seconds_of  # noqa: PLC0415

    try:
        return seconds_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _run(options: argparse.Namespace, settings: WatchSettings) -> int:
    from app.jobs.pass_loop import Heartbeat, PassLoop  # noqa: PLC0415

    agent = _agent(settings)
    url = settings.job_watch.heartbeat_url
    beat = Heartbeat(url).beat if url is not None else None

    async def run_pass() -> None:
        summary = await agent.monitor_jobs_async()
        _print(json.dumps(summary) if options.json else "\n".join(_summary_lines(summary)))

    if options.every is None:
        await run_pass()
        if beat is not None:
            await beat()
    else:
        passes = PassLoop(run_pass, options.every, beat=beat)
        passes.stop_at_signals()
        await passes.run()
    return 0


def _agent(settings: WatchSettings) -> DatabricksAgent:
    """One for all passes of the process: it holds to the hourly cap of calls of the model."""
    from app.jobs.databricks_agent import DatabricksAgent  # noqa: PLC0415
    from app.jobs.databricks_connector import DatabricksConnector  # noqa: PLC0415

    connector = DatabricksConnector(settings)
    return DatabricksAgent(databricks_connector=connector, email_notifier=_email_notifier(settings))


def _email_notifier(settings: WatchSettings) -> EmailNotifier | None:
    from app.jobs.email_notifier import EmailNotifier  # noqa: PLC0415

    return EmailNotifier() if settings.mail.is_configured else None


def _summary_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """What a pass did, for people."""
    done = [row for row in summary["actions"].values() if row["count"]]
    for row in done:
        runs = "1 run" if row["count"] == 1 else f"{row['count']} runs"
        yield f"{row['at']} {row['action']}: {runs} of jobs {row['job_ids']}"
    if not done:
        yield "No run needs anything."
    yield from summary["notes"]


async def _approve(options: argparse.Namespace, settings: WatchSettings) -> int:
    from app.databricks.workspace_errors import WorkspaceError  # noqa: PLC0415
    from app.jobs.approval import approve  # noqa: PLC0415
    from app.jobs.databricks_connector import DatabricksConnector  # noqa: PLC0415
    from app.jobs.error_decision_engine import ErrorDecisionEngine  # noqa: PLC0415
    from app.jobs.watching.failure_reader import Strategies  # noqa: PLC0415
    from app.jobs.watching.open_watch import build_watch, open_store  # noqa: PLC0415

    _store(settings)
    async with DatabricksConnector(settings).open() as workspace, open_store(settings) as store:
        # Nothing is decided here, so no model is needed.
        strategies = Strategies(ErrorDecisionEngine(None))
        opened = build_watch(settings, workspace.jobs, store, strategies, email=_email_notifier(settings))
        incident = await approve(opened.incidents, options.id, _user_name())
        try:
            begun = await opened.begin_retry(incident.id) or incident
        except WorkspaceError as error:
            _print(f"Approved for {incident.job_name}. The next pass begins the retry: {error}")
            return 0
    _print(f"Approved for {incident.job_name}: the incident is {begun.state}.")
    return 0


async def _history(options: argparse.Namespace, settings: WatchSettings) -> int:
    from app.jobs.history.history_export import HistoryExportError, to_csv, to_json, write_delta  # noqa: PLC0415

    if options.format == "delta" and not options.output:
        raise CommandError("A Delta table needs its place: put --output.")
    records = await _read_history(options, settings)
    try:
        if options.format == "delta":
            await asyncio.to_thread(write_delta, options.output, records)
        else:
            text = to_csv(records) if options.format == "csv" else to_json(records)
            await asyncio.to_thread(_write, text, options.output)
    except (HistoryExportError, OSError) as error:
        raise CommandError(f"The history could not be written: {error}") from error
    if options.output:
        _say(f"{len(records)} decisions are in {options.output}.")
    return 0


async def _read_history(options: argparse.Namespace, settings: WatchSettings) -> list[DecisionRecord]:
    from app.jobs.history.decision_records import DecisionRecords  # noqa: PLC0415
    from app.jobs.history.history_reading import DAY_SECONDS, read_history  # noqa: PLC0415
    from app.storage.factory import open_storage  # noqa: PLC0415

    now = time.time()
    storage = open_storage(_store(settings))
    try:
        records = DecisionRecords(storage.documents, workspace=settings.workspace_url)
        return await read_history(records, now - options.days * DAY_SECONDS, now, job_id=options.job)
    finally:
        await storage.close()


def _write(text: str, output: str | None) -> None:
    """Raises `OSError`."""
    if not output:
        sys.stdout.write(text)
        return
    # What is there stays whole where the disk is full; csv has its own ends of lines.
    unfinished = Path(f"{output}.part")
    unfinished.write_text(text, encoding="utf-8", newline="")
    unfinished.replace(output)


def _store(settings: WatchSettings) -> Path | StorageAccount:
    """Raises `CommandError`."""
    if settings.store is None:
        raise CommandError("There is no store: put JOB_WATCH_STORE, the one that the passes have.")
    return settings.store


def _user_name() -> str:
    try:
        return f"{getpass.getuser()} on the command line"
    except (OSError, KeyError, ImportError):
        # A container's user may have no name.
        return "the command line"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
