"""Builds the chat page with npm, once for each state of its sources."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ops.databricks_app import AppError

SOURCES = "agent_server/ui"
PAGE = f"{SOURCES}/dist"
_NOT_SOURCES = {"dist", "node_modules"}
# Not beside the page, which is uploaded.
_STAMP = "node_modules/.page.sha256"


def build_page(root: Path, say: Callable[[str], object]) -> bool:
    """Whether the page is there afterwards; without npm only one that was built before. Raises `AppError`."""
    sources, page = root / SOURCES, root / PAGE
    if not (sources / "package-lock.json").is_file():
        return page.is_dir()
    digest, stamp = _digest(sources), sources / _STAMP
    if page.is_dir() and stamp.is_file() and stamp.read_text() == digest:
        return True
    npm = shutil.which("npm")
    if npm is None:
        say("npm was not found: install Node.js 22 to build the page.")
        return page.is_dir()
    say("Building the page with npm ...")
    # `npm ci` takes a minute; what is installed is that of package-lock.json or is installed again.
    if not _is_installed(sources):
        _npm(npm, sources, "ci", "--no-audit", "--no-fund")
    _npm(npm, sources, "run", "build")
    stamp.write_text(digest)
    return True


def _is_installed(sources: Path) -> bool:
    installed = sources / "node_modules" / ".package-lock.json"
    lock = sources / "package-lock.json"
    return installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime


def _npm(npm: str, folder: Path, *arguments: str) -> None:
    done = subprocess.run([npm, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise AppError(f"npm {arguments[0]} failed in {SOURCES}:\n{said}")


def _digest(sources: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(sources.rglob("*")):
        name = file.relative_to(sources)
        if file.is_file() and name.parts[0] not in _NOT_SOURCES:
            total.update(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name.as_posix()}\n".encode())
    return total.hexdigest()
