"""Programs that npm brings, installed once into .data/ for all tests, whichever of their processes comes first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.fakes.file_lock import locked

_OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error")


def npm_installed(folder: Path, package: str, lock: Path) -> Path:
    """The package's own folder; takes up to minutes the first time. `lock` has package.json and package-lock.json."""
    version: str = json.loads((lock / "package.json").read_text(encoding="utf-8"))["dependencies"][package]
    installed = folder / "node_modules" / package
    if _version(installed) != version:
        # The others wait for the first: each would download and unpack the same.
        with locked(folder.with_name(f"{folder.name}.lock")):
            if _version(installed) != version:
                _install(folder, package, version, lock)
    return installed


def _install(folder: Path, package: str, version: str, lock: Path) -> None:
    npm = shutil.which("npm")
    assert npm, "there is no npm"
    # Into a folder of its own first: what was interrupted is never taken for whole. Windows knows no such lock.
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(lock / name, fresh)
    ended = subprocess.run(
        [npm, "ci", *_OPTIONS],
        cwd=fresh,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, f"npm could not install {package}:\n{ended.stderr[-2000:]}"
    installed = folder / "node_modules" / package
    if _version(installed) != version:
        shutil.rmtree(folder, ignore_errors=True)
        # Where another was faster, its own is as good.
        with suppress(OSError):
            fresh.rename(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    assert _version(installed) == version, f"{package} {version} is not where npm was to install it"


def _version(installed: Path) -> str | None:
    try:
        version: str = json.loads((installed / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, LookupError):
        return None
    return version
