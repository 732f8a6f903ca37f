"""What runs: the version, and which build of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

VERSION = "0.1.0"
BUILD_FILE = Path(__file__).resolve().parent.parent / "build.json"


def read_build(file: Path = BUILD_FILE) -> str:
    """The 12 hex digits that `dev.py package` put into `file`; `local` without it, `unknown` when it says nothing."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return "local"
    except (OSError, ValueError, RecursionError):
        return "unknown"
    build = content.get("build") if isinstance(content, dict) else None
    return build if isinstance(build, str) and re.fullmatch(r"[0-9a-f]{12}", build) else "unknown"
