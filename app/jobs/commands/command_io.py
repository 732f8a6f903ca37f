"""What the sub-commands share: their error, what they print, and the store that the settings name."""

from __future__ import annotations

import sys
from pathlib import Path

from app.jobs.environment import WatchSettings
from app.storage.storage_account import StorageAccount


class CommandError(Exception):
    """A command cannot be carried out; its text is a sentence for a person."""


def say(text: str) -> None:
    """For a person; what a program may read goes to `print_line`."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_whole(text: str, output: str) -> None:
    """A file that is there stays whole where the disk is full. Raises `OSError`."""
    unfinished = Path(f"{output}.part")
    # CSV has its own ends of lines.
    unfinished.write_text(text, encoding="utf-8", newline="")
    unfinished.replace(output)


def store_of(settings: WatchSettings) -> Path | StorageAccount:
    """Raises `CommandError`."""
    if settings.store is None:
        raise CommandError("There is no store: put JOB_WATCH_STORE, the one that the passes have.")
    return settings.store
