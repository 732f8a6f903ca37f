"""The Microsoft 365 Agents Playground: a page in the browser that talks to the bot as Teams does."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

from app.local.processes import Child, Children

PACKAGE = "@microsoft/m365agentsplayground"
VERSION = "0.2.28"
DEFAULT_PORT = 56150
_LOOPBACK_ONLY = Path(__file__).with_name("loopback_only.cjs")
_SECONDS_TO_INSTALL = 300.0
_SECONDS_TO_START = 60.0


class PlaygroundError(Exception):
    """There is no Playground to be had; `str()` says why."""


async def installed_playground(folder: Path) -> Path:
    """The program's file, installed by npm into `folder` the first time. Raises `PlaygroundError`."""
    program = _program(folder)
    if _version(program) == VERSION:
        return program
    npm = shutil.which("npm")
    if npm is None:
        raise PlaygroundError("Node.js is not installed (no npx or npm on the PATH)")
    # Into another folder first: what an interrupted install leaves behind is never taken for the real one.
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    (fresh / "package.json").write_text("{}")
    options = ["--prefix", str(fresh), "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"]
    process = await asyncio.create_subprocess_exec(
        npm,
        "install",
        *options,
        f"{PACKAGE}@{VERSION}",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_SECONDS_TO_INSTALL):
            output, _ = await process.communicate()
    except TimeoutError:
        raise PlaygroundError(f"npm did not install {PACKAGE} within {_SECONDS_TO_INSTALL:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode or _version(_program(fresh)) != VERSION:
        last = output.decode(errors="replace").strip().splitlines()[-3:]
        raise PlaygroundError(f"npm could not install {PACKAGE}: {' '.join(last)}")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return program


def _program(folder: Path) -> Path:
    return folder / "node_modules" / PACKAGE / "cli.js"


def _version(program: Path) -> str | None:
    try:
        version: str = json.loads((program.parent / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, LookupError):
        return None
    return version


async def start_playground(
    children: Children, program: Path, endpoint: str, port: int = DEFAULT_PORT, channel: str = "msteams"
) -> tuple[Child, str]:
    """Returns the address of the page; another port is taken where `port` is not free.

    Raises `PlaygroundError` without Node.js and `ChildFailedError` if it does not start.
    """
    node = shutil.which("node")
    if node is None:
        raise PlaygroundError("Node.js is not installed (no node on the PATH)")
    log = program.parents[3] / "playground.log"
    child = await children.start(
        "The Agents Playground",
        [
            node,
            "--require",
            str(_LOOPBACK_ONLY),
            str(program),
            "-e",
            endpoint,
            "-c",
            channel,
            "-p",
            str(port),
            "--disable-telemetry",
        ],
        ready=r"^Listening on (\d+)",
        # It would open a browser itself, and end where there is none.
        environment={**os.environ, "TEAMSAPPTESTER_BROWSER": "none", "M365_AGENTS_PLAYGROUND_LOGFILE": str(log)},
    )
    return child, f"http://localhost:{(await child.ready(_SECONDS_TO_START))[1]}"
