"""Which commit runs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from app.version import BUILD_FILE, read_git_commit

_SECONDS = 5.0


def git_commit(environment: Mapping[str, str] = os.environ, file: Path = BUILD_FILE) -> str:
    """40 hex digits, and a + where files differed from it: of the file that `dev.py preflight` writes, else of the
    repository. Empty where there is neither, or no git.
    """
    return _valid(read_git_commit(file)) or _of_repository(file.parent, environment)


def _of_repository(folder: Path, environment: Mapping[str, str]) -> str:
    command = ["git", "rev-parse", "HEAD"]
    try:
        ended = subprocess.run(  # noqa: S603 - fixed arguments
            command, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return _valid(ended.stdout.strip())


def _valid(commit: str) -> str:
    return commit if re.fullmatch(r"[0-9a-f]{40}\+?", commit) else ""
