"""What runs: the version, and which build of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

VERSION = "0.1.0"
BUILD_FILE = Path(__file__).resolve().parent.parent / "build.json"


_BUILD = re.compile("[0-9a-f]{12}")
_COMMIT = re.compile(r"[0-9a-f]{40}\+?")


def read_build(file: Path = BUILD_FILE) -> str:
    """The 12 hex digits that `dev.py package` put into `file`; `local` without it, `unknown` when it says nothing."""
    return _read(file, "build", _BUILD)


def read_git_commit(file: Path = BUILD_FILE) -> str:
    """The commit that `dev.py preflight` put into `file`, with a + where files differed from it; `local` and `unknown`
    as above.
    """
    return _read(file, "commit", _COMMIT)


def _read(file: Path, name: str, pattern: re.Pattern[str]) -> str:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return "local"
    except (OSError, ValueError, RecursionError):
        return "unknown"
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, str) and pattern.fullmatch(value) else "unknown"
