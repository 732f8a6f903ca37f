"""The Microsoft 365 Agents Playground: a page in the browser that talks to the bot as Teams does."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from app.local.npm_package import NoNodeError, NpmPackageError, installed_package, locked_version, node_environment
from app.local.processes import Child, ChildFailedError, Children

PACKAGE = "@microsoft/m365agentsplayground"
# Its version and hash: package.json and package-lock.json.
_LOCK = Path(__file__).with_name("npm")
VERSION = locked_version(PACKAGE, _LOCK)
DEFAULT_PORT = 56150
TENANT_ID = "00000000-0000-0000-0000-000000000001"
USER_ID = "00000000-0000-0000-0000-000000000020"
USER_NAME = "Alex Wilber"
"""Who writes in the Playground, by their ids in Microsoft Entra."""
_NAMES = (USER_NAME, "Megan Bowen", "Adele Vance", "Isaiah Langer", "Patti Fernandez", "Lynne Robbins")
_LOOPBACK_ONLY = Path(__file__).with_name("loopback_only.cjs")
_START_SECONDS = 60.0


async def installed_playground(folder: Path) -> Path:
    """The program's file, installed by npm into `folder` the first time. Raises `NpmPackageError`."""
    return (await installed_package(folder, PACKAGE, _LOCK)) / "cli.js"


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


async def start_playground(
    children: Children, program: Path, endpoint: str, port: int = DEFAULT_PORT, channel: str = "msteams"
) -> tuple[Child, str]:
    """Returns the address of the page; another port is taken where `port` is not free.

    Raises `NpmPackageError`.
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
        raise NpmPackageError(f"Node.js, at {node}, cannot be run: {error.strerror}") from None
    try:
        return child, f"http://localhost:{(await child.ready(_START_SECONDS))[1]}"
    except ChildFailedError as error:
        await children.stop_one(child)
        raise NpmPackageError(str(error)) from None
