"""Installs a lock with uv, which takes a tenth of pip's time. Standard library only: dev.py runs it before anything is
installed.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

# Whose uv it is: the lock with the tools of developers.
_TOOLS = Path(__file__).resolve().parents[1] / "requirements-dev.txt"
# A lock has hashes, so that it does not matter where a file comes from; but who names an index of their own means it.
_INDEX_SETTINGS = frozenset({"index-url", "no-index"})
_SECONDS = 900


def install_with_uv(python: Path, lock: Path) -> bool:
    """False where uv is not to be used, or did not succeed: pip then does it, and says what is wrong."""
    if not _TOOLS.exists() or _names_an_index(python) or not _has_uv(python):
        return False
    command: list[str | Path] = [python, "-m", "uv", "pip", "install", "--quiet", "--system-certs", "--python", python]
    environment = {**os.environ, "UV_LINK_MODE": "copy", "UV_HTTP_TIMEOUT": "30"}
    return _succeeds([*command, "--no-deps", "--require-hashes", "-r", lock], environment)


def _names_an_index(python: Path) -> bool:
    done = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True)
    # global.index-url='…', install.index-url='…', :env:.index-url='…'
    names = {line.partition("=")[0].rpartition(".")[2] for line in done.stdout.splitlines()}
    return done.returncode != 0 or bool(names & _INDEX_SETTINGS)


def _has_uv(python: Path) -> bool:
    if _succeeds([python, "-c", "import uv"]):
        return True
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "uv.txt"
        pinned.write_text(_lines_of_uv(_TOOLS.read_text(encoding="utf-8")), encoding="utf-8")
        options: list[str | Path] = [
            "--quiet",
            "--require-hashes",
            "--no-deps",
            "--no-input",
            "--disable-pip-version-check",
        ]
        return _succeeds([python, "-m", "pip", "install", *options, "-r", pinned])


def _lines_of_uv(lock: str) -> str:
    _, begins, rest = f"\n{lock}".partition("\nuv==")
    lines = rest.splitlines()
    end = next((number for number, line in enumerate(lines) if not line.endswith("\\")), len(lines))
    return "\n".join([f"uv=={lines[0]}", *lines[1 : end + 1]]) if begins else ""


def _succeeds(command: list[str | Path], environment: dict[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
