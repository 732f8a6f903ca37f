"""The command `job-watch`: passes of the job watch, approvals, and what it remembers. `job-watch --help` lists them.

Exit codes: 0, 1 for what failed, 2 for arguments or settings that are wrong, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.jobs.environment import WatchSettings

Command = Callable[[argparse.Namespace, "WatchSettings"], Coroutine[Any, Any, None]]

_FAILED, _WRONG_USE, _INTERRUPTED = 1, 2, 130
_MAX_DAYS = 400


class _OneLine(logging.Formatter):
    """An exception by its sentence: whoever is on call reads no stack."""

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - the signature of logging
        error = ei[1]
        return f"{type(error).__name__}: {error}"


def command() -> None:
    """What the console script and a Databricks job call: in a job also `sys.exit(0)` is a failure."""
    if code := main():
        sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser().parse_args(arguments)
    logged = logging.StreamHandler()
    logged.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[logged])
    # A line for every request would be most of the log.
    for name in ("httpx2", "azure"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from app.config import SettingsError  # noqa: PLC0415 - `--help` needs none of it
    from app.databricks.workspace_errors import (  # noqa: PLC0415
        CredentialError,
        WorkspaceError,
        WorkspaceSignInError,
    )
    from app.jobs.commands.command_io import CommandError, say  # noqa: PLC0415
    from app.jobs.environment import load_watch_settings  # noqa: PLC0415
    from app.storage.storage_errors import StorageError  # noqa: PLC0415

    try:
        carry_out: Command = options.command
        _add_to_environment(options)
        asyncio.run(carry_out(options, load_watch_settings()))
    except SettingsError as error:
        say(str(error))
        return _WRONG_USE
    except CommandError as error:
        say(str(error))
    except (CredentialError, WorkspaceSignInError) as error:
        say(f"Databricks did not take the sign-in: check DATABRICKS_TOKEN, or the other credentials. {error}")
    except WorkspaceError as error:
        say(f"The workspace could not be read: check DATABRICKS_HOST and the connection. {error}")
    except StorageError as error:
        say(f"The store could not be used: {error}")
    except KeyboardInterrupt:
        return _INTERRUPTED
    else:
        return 0
    return _FAILED


def argument_parser() -> argparse.ArgumentParser:
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
    history.add_argument("--output", default="", metavar="FILE", help="a file, or the path or URI of the Delta table")
    _add_filters(history)
    history.set_defaults(command=_history)

    dashboard = commands.add_parser("dashboard", help="write one HTML page: decisions, causes, outcomes, trends")
    dashboard.add_argument("--output", default="job_watch.html", metavar="FILE", help="job_watch.html if left out")
    _add_filters(dashboard)
    dashboard.set_defaults(command=_dashboard)

    serve = commands.add_parser("serve", help="stream events to programs over WebSocket, until SIGTERM")
    serve.add_argument("--address", default="127.0.0.1", help="where to listen: this machine alone if left out")
    serve.add_argument("--port", type=_port, default=8765, help="8765 if left out; 0 for a free one")
    serve.set_defaults(command=_serve)
    return parser


async def _run(options: argparse.Namespace, settings: WatchSettings) -> None:
    from app.jobs.commands.pass_commands import run_passes  # noqa: PLC0415

    await run_passes(settings, options.every, prints_json=options.json)


async def _approve(options: argparse.Namespace, settings: WatchSettings) -> None:
    from app.jobs.commands.pass_commands import approve_retry  # noqa: PLC0415

    await approve_retry(settings, options.id)


async def _history(options: argparse.Namespace, settings: WatchSettings) -> None:
    from app.jobs.commands.history_commands import export_history  # noqa: PLC0415

    await export_history(settings, options.format, options.output, days=options.days, job_id=options.job)


async def _dashboard(options: argparse.Namespace, settings: WatchSettings) -> None:
    from app.jobs.commands.history_commands import write_dashboard  # noqa: PLC0415

    await write_dashboard(settings, options.output, days=options.days, job_id=options.job)


async def _serve(options: argparse.Namespace, settings: WatchSettings) -> None:
    from app.jobs.commands.history_commands import serve_events  # noqa: PLC0415

    await serve_events(settings, options.address, options.port)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=_days, default=30, help="of runs that ended in so many days (1 to 400, 30)")
    parser.add_argument("--job", type=int, metavar="ID", help="of this job alone")


def _days(text: str) -> int:
    return _number(text, 1, _MAX_DAYS, "a number of days")


def _port(text: str) -> int:
    return _number(text, 0, 65535, "a port")


def _number(text: str, least: int, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{what} is a number from {least} to {most}")
    return int(text)


def _seconds(text: str) -> int:
    from app.jobs.pass_loop import seconds_of  # noqa: PLC0415

    try:
        return seconds_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
