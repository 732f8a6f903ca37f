"""The command `job-watch`: passes of the job watch, approvals, and what it remembers. `job-watch --help` lists them.

Exit codes: 0, 1 for what failed, 2 for arguments or settings that are wrong, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.jobs.environment import WatchSettings
    from app.storage.storage_account import StorageAccount

Command = Callable[[argparse.Namespace, "WatchSettings"], Coroutine[Any, Any, int]]

_FAILED, _WRONG_USE, _INTERRUPTED = 1, 2, 130


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="job-watch", description="Watches Databricks jobs; docs/jobs.md says how.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    approve = commands.add_parser("approve", help="approve the retry that an incident proposes")
    approve.add_argument("id", help="of the incident or of the proposal, as in the mail and the history")
    approve.set_defaults(command=_approve)
    return parser


async def _approve(options: argparse.Namespace, settings: WatchSettings) -> int:
    from app.jobs.approval import approve  # noqa: PLC0415
    from app.jobs.incidents.incident_store import IncidentStore  # noqa: PLC0415
    from app.storage.factory import open_storage  # noqa: PLC0415

    storage = open_storage(_store(settings))
    try:
        incidents = IncidentStore(storage.documents, workspace=settings.workspace_url)
        incident = await approve(incidents, options.id, _user_name())
    finally:
        await storage.close()
    _print(f"Approved for {incident.job_name}: the next pass begins it.")
    return 0


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
