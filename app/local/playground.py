"""The Microsoft 365 Agents Playground: a page in the browser that talks to the bot as Teams does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.common.printable import printable
from app.local.processes import Child, ChildFailedError, Children

PACKAGE = "@microsoft/m365agentsplayground"
# Its version and hash: package.json and package-lock.json.
_LOCK = Path(__file__).with_name("npm")
VERSION: str = json.loads((_LOCK / "package.json").read_text(encoding="utf-8"))["dependencies"][PACKAGE]
DEFAULT_PORT = 56150
TENANT_ID = "00000000-0000-0000-0000-000000000001"
USER_ID = "00000000-0000-0000-0000-000000000020"
USER_NAME = "Alex Wilber"
"""Who writes in the Playground, by their ids in Microsoft Entra."""
_NAMES = (USER_NAME, "Megan Bowen", "Adele Vance", "Isaiah Langer", "Patti Fernandez", "Lynne Robbins")
_LOOPBACK_ONLY = Path(__file__).with_name("loopback_only.cjs")
_INSTALL_SECONDS = 300.0
_START_SECONDS = 60.0
# npm's defaults wait for more than a minute where there is no network.
_NPM_OPTIONS = (
    *("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error", "--ignore-scripts"),
    *("--fetch-retries", "2", "--fetch-retry-mintimeout", "1000", "--fetch-retry-maxtimeout", "4000"),
)
# What Node.js needs on some system. It runs packages of others, so that it gets none of the developer's secrets.
_ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|XDG_\w+"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|USERPROFILE|HOMEDRIVE|HOMEPATH|APPDATA|LOCALAPPDATA|PROGRAM\w*"
    r"|(NVM|FNM|VOLTA|ASDF|MISE)_\w+|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR"
)
# For downloads only: these may hold a user name and a password.
_NETWORK = re.compile(r"HTTPS?_PROXY|NO_PROXY|NPM_CONFIG_\w+", re.IGNORECASE)
# The codes of npm and of Node.js: https://docs.npmjs.com/common-errors, https://nodejs.org/api/errors.html
_CAUSES = (
    (
        "ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT",
        "no connection to the npm registry. Check the network, and HTTPS_PROXY if a proxy leads out of it",
    ),
    (
        "SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?"
        "|UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_HAS_EXPIRED",
        "the certificate of the npm registry is not trusted here. Behind a proxy that opens TLS, set "
        "NODE_EXTRA_CA_CERTS to the file with its certificate",
    ),
    ("ENOSPC", "the disk is full"),
)


class PlaygroundError(Exception):
    """The Playground cannot be installed or started; `str()` says why."""


class NoNodeError(PlaygroundError):
    """Node.js, which is optional, is not installed."""


def node_environment(environment: Mapping[str, str], *, network: bool = False) -> dict[str, str]:
    """The variables of `environment` that Node.js is given; `network`: those for downloads too."""
    return {
        name: value
        for name, value in environment.items()
        if _ENVIRONMENT.fullmatch(name.upper()) or (network and _NETWORK.fullmatch(name))
    }


async def installed_playground(folder: Path) -> Path:
    """The program's file, installed by npm into `folder` the first time. Raises `PlaygroundError`."""
    program = _program(folder)
    if _version(program) == VERSION:
        return program
    npm = shutil.which("npm")
    if npm is None:
        raise NoNodeError("Node.js is not installed (no npm on the PATH)")
    # Into another folder first, so that an interrupted install is never used.
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_LOCK / name, fresh)
    try:
        process = await asyncio.create_subprocess_exec(
            *(npm, "ci", "--prefix", str(fresh), *_NPM_OPTIONS),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=node_environment(os.environ, network=True),
        )
    except OSError as error:
        raise PlaygroundError(f"npm, at {npm}, cannot be run: {error.strerror}") from None
    try:
        async with asyncio.timeout(_INSTALL_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        raise PlaygroundError(f"npm did not install {PACKAGE} within {_INSTALL_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode or _version(_program(fresh)) != VERSION:
        raise PlaygroundError(f"npm could not install {PACKAGE}: {why_npm_failed(output.decode(errors='replace'))}")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return program


def why_npm_failed(said: str) -> str:
    code = re.search(r"^npm (?:error|ERR!) code (\w+)$", said, re.MULTILINE)
    for codes, cause in _CAUSES:
        # Old versions of npm print the error of Node.js itself.
        if re.search(rf"\b({codes})\b", code[1] if code else said):
            return cause
    lines = [line for line in printable(said).splitlines() if "A complete log of this run" not in line]
    return " ".join(" ".join(lines[-3:]).split())[:500] or "it gave no reason"


def _people() -> dict[str, Any]:
    """The Playground's own people and chats, with ids as Microsoft Entra has them, and new chats each time.

    Its file is YAML, which JSON is too: https://aka.ms/teams-app-test-tool-config-guide
    """
    users = [_user(number, name) for number, name in enumerate(_NAMES)]
    return {
        "version": "0.1.1",
        "tenantId": TENANT_ID,
        "bot": {"id": "00000000-0000-0000-0000-000000000011", "name": "Test Bot"},
        "currentUser": users[0],
        "users": users[1:],
        "personalChat": {"id": str(uuid.uuid4())},
        "groupChat": {"id": str(uuid.uuid4()), "name": "Group Chat"},
        "team": {
            "id": "team-id",
            "name": "My Team",
            "aadGroupId": "00000000-0000-0000-0000-000000000031",
            "channels": [{"id": "channel-announcements-id", "name": "Announcements"}],
        },
    }


def _user(number: int, name: str) -> dict[str, str]:
    given_name, _, surname = name.partition(" ")
    email = f"{given_name}{surname[0]}@example.com".lower()
    return {
        "id": f"user-id-{number}",
        "name": name,
        "userPrincipleName": email,
        "aadObjectId": f"00000000-0000-0000-0000-0000000000{20 + number}",
        "givenName": given_name,
        "surname": surname,
        "email": email,
    }


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

    Raises `PlaygroundError`.
    """
    node = shutil.which("node")
    if node is None:
        raise NoNodeError("Node.js is not installed (no node on the PATH)")
    log = program.parents[3] / "playground.log"
    # It holds conversations.
    log.parent.chmod(0o700)
    people = log.with_name("playground_people.json")
    people.write_text(json.dumps(_people()), encoding="utf-8")
    options = ["-e", endpoint, "-c", channel, "-p", str(port), "--disable-telemetry"]
    try:
        child = await children.start(
            "The Agents Playground",
            [node, "--require", str(_LOOPBACK_ONLY), str(program), *options],
            ready=r"^Listening on (\d+)",
            # It would open a browser itself, and end where there is none.
            environment=node_environment(os.environ)
            | {
                "TEAMSAPPTESTER_BROWSER": "none",
                "M365_AGENTS_PLAYGROUND_LOGFILE": str(log),
                "M365_AGENTS_PLAYGROUND_CONFIG_PATH": str(people),
            },
        )
    except OSError as error:
        raise PlaygroundError(f"Node.js, at {node}, cannot be run: {error.strerror}") from None
    try:
        return child, f"http://localhost:{(await child.ready(_START_SECONDS))[1]}"
    except ChildFailedError as error:
        await children.stop_one(child)
        raise PlaygroundError(str(error)) from None
