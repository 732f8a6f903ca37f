"""The builds in storage: one blob each, beside the one that a Consumption plan runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ops.deploy import DeployError, NotAllowedError
from ops.deploy.azure_cli import AzureCli
from ops.deploy.target import Target
from ops.package.archive import Build, NotAPackageError, read_build

CURRENT = "agent.zip"
"""The blob that WEBSITE_RUN_FROM_PACKAGE names."""

_RELEASED = "released-package.zip"
"""What a Flex Consumption app runs, in the same container: its documentation, "Deployment package"."""

_ROLE_WAIT_SECONDS = 300.0
_ROLE_PAUSE_SECONDS = 15.0
_KEPT = re.compile(r"agent-([0-9a-f]{12})\.zip")


def blob_name(build: str) -> str:
    return f"agent-{build}.zip"


@dataclass(frozen=True, slots=True)
class StoredBuild:
    """`uploaded` is a time in UTC, as ISO 8601."""

    build: str
    uploaded: str


class Builds:
    def __init__(
        self,
        azure: AzureCli,
        target: Target,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._azure = azure
        self._clock = clock
        self._pause = pause
        self._running = _RELEASED if target.plan == "flex" else CURRENT
        self._container = ["--account-name", target.storage_account, "--container-name", target.container]
        self._container += ["--auth-mode", "login"]

    def upload(self, package: Path, name: str) -> None:
        # Without its path, which could hold characters that cmd.exe interprets.
        options = ["--name", name, "--file", package.name, "--overwrite", "true", "--no-progress"]
        self._blob("upload", *options, folder=package.parent)

    def store_running(self, build: str) -> None:
        """Stores the build that runs, unless it is stored already. Raises `DeployError`."""
        if any(kept.build == build for kept in self.list()):
            return
        with TemporaryDirectory() as folder:
            package = Path(folder) / "agent.zip"
            self._fetch(self._running, package)
            try:
                found = read_build(package).build
            except NotAPackageError as error:
                raise DeployError(f"{self._running} cannot be used: {error}") from None
            if found != build:
                raise DeployError(f"{self._running} is build {found}.")
            self.upload(package, blob_name(build))

    def download(self, build: str, target: Path) -> Build:
        """Raises `DeployError`, naming the builds that there are, if this is none of them or not what it was."""
        kept = [item.build for item in self.list()]
        if build not in kept:
            there = f"These are: {', '.join(kept)}" if kept else "There is none yet"
            raise DeployError(f"Build {build} is not kept in storage. {there}.")
        self._fetch(blob_name(build), target)
        try:
            found = read_build(target)
        except NotAPackageError as error:
            raise DeployError(f"What is kept as build {build} cannot be used: {error}") from None
        if found.build != build:
            raise DeployError(f"What is kept as build {build} is build {found.build}.")
        return found

    def list(self) -> list[StoredBuild]:
        """The newest first."""
        options = ["--prefix", "agent-", "--num-results", "*"]
        blobs = self._blob("list", *options) or []
        found = [
            StoredBuild(match[1], str((blob.get("properties") or {}).get("lastModified", "")))
            for blob in blobs
            if (match := _KEPT.fullmatch(blob["name"]))
        ]
        return sorted(found, key=lambda kept: kept.uploaded, reverse=True)

    def _fetch(self, name: str, target: Path) -> None:
        options = ["--name", name, "--file", target.name, "--no-progress"]
        self._blob("download", *options, folder=target.parent)

    def _blob(self, verb: str, *options: str, folder: Path | None = None) -> Any:  # noqa: ANN401
        """Tries again for five minutes while storage refuses, as it does with a role that is new."""
        ends = self._clock() + _ROLE_WAIT_SECONDS
        told = False
        while True:
            try:
                return self._azure.run("storage", "blob", verb, *self._container, *options, folder=folder)
            except NotAllowedError:
                if self._clock() + _ROLE_PAUSE_SECONDS > ends:
                    raise
            if not told:
                told = True
                print(
                    "Storage refuses the signed-in account. A role that provision has just assigned takes minutes to "
                    f"work: trying again for {_ROLE_WAIT_SECONDS / 60:.0f} minutes ...",
                    flush=True,
                )
            self._pause(_ROLE_PAUSE_SECONDS)
