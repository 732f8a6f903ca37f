"""Which commit runs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Written into the uploaded folder, which has no `.git`.
GIT_COMMIT_FILE = Path(__file__).resolve().parents[2] / "git_commit"
_SECONDS = 5.0


def git_commit(environment: Mapping[str, str] = os.environ, file: Path = GIT_COMMIT_FILE) -> str:
    """40 hex digits: of the file that `dev.py preflight` writes, else of the repository. Empty where there is neither,
    or no git.
    """
    try:
        written = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        written = ""
    return _valid(written) or _of_repository(file.parent, environment)


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
    return commit if re.fullmatch(r"[0-9a-f]{40}", commit) else ""
