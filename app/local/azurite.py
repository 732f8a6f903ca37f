"""Azurite, Microsoft's emulator of Azure storage, in memory on free ports of this machine."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from app.local.lifetime import LOOPBACK
from app.local.npm_package import NoNodeError, installed_package, node_environment
from app.local.processes import Children
from app.storage.storage_account import EMULATOR_ACCOUNT, EMULATOR_KEY

_SERVICES = ("Blob", "Queue", "Table")
_LISTENS = r"Azurite (\w+) service is successfully listening at (http://\S+)"
_START_SECONDS = 60.0


async def start_azurite(children: Children, folder: Path) -> str:
    """The connection string of its account; npm installs it into `folder` the first time.

    Raises `NpmPackageError` and `ChildFailedError`.
    """
    program = await installed_package(folder, "azurite", Path(__file__).with_name("npm_azurite"))
    node = shutil.which("node")
    if node is None:
        raise NoNodeError("Node.js is not installed (no node on the PATH)")
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    for service in _SERVICES:
        options += [f"--{service.lower()}Host", LOOPBACK, f"--{service.lower()}Port", "0"]
    addresses: dict[str, str] = {}

    def note(line: str) -> None:
        if found := re.search(_LISTENS, line):
            addresses[found[1]] = found[2]

    azurite = await children.start(
        "Azurite",
        [node, str(program / "dist" / "src" / "azurite.js"), *options],
        # They start one after the other.
        ready=_LISTENS.replace(r"\w+", _SERVICES[-1]),
        environment=node_environment(os.environ),
        show=note,
    )
    last = await azurite.ready(_START_SECONDS)
    addresses[last[1]] = last[2]
    endpoints = "".join(f"{name}Endpoint={address}/{EMULATOR_ACCOUNT};" for name, address in addresses.items())
    return f"DefaultEndpointsProtocol=http;AccountName={EMULATOR_ACCOUNT};AccountKey={EMULATOR_KEY};{endpoints}"
