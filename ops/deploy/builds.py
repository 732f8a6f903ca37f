"""The builds kept in storage: one blob each, beside the one that a Consumption plan runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ops.deploy import DeployError
from ops.deploy.azure_cli import AzureCli
from ops.deploy.target import Target
from ops.package.archive import Build, NotAPackage, read_build

CURRENT = "agent.zip"
"""The blob that WEBSITE_RUN_FROM_PACKAGE names."""

_KEPT = re.compile(r"agent-([0-9a-f]{12})\.zip")


def kept_name(build: str) -> str:
    return f"agent-{build}.zip"


@dataclass(frozen=True, slots=True)
class KeptBuild:
    """`uploaded` is a time in UTC, as ISO 8601."""

    build: str
    uploaded: str


class Builds:
    def __init__(self, azure: AzureCli, target: Target) -> None:
        self._azure = azure
        self._container = ["--account-name", target.storage_account, "--container-name", target.container]
        self._container += ["--auth-mode", "login"]

    def upload(self, package: Path, name: str) -> None:
        # By its name in its folder: a path could hold what cmd.exe takes for its own.
        options = ["--name", name, "--file", package.name, "--overwrite", "true", "--no-progress"]
        self._azure.run("storage", "blob", "upload", *self._container, *options, folder=package.parent)

    def download(self, build: str, target: Path) -> Build:
        """Raises `DeployError`, naming the builds that there are, if this is none of them or not what it was."""
        kept = [item.build for item in self.list()]
        if build not in kept:
            there = f"These are: {', '.join(kept)}" if kept else "There is none yet"
            raise DeployError(f"Build {build} is not kept in storage. {there}.")
        options = ["--name", kept_name(build), "--file", target.name, "--no-progress"]
        self._azure.run("storage", "blob", "download", *self._container, *options, folder=target.parent)
        try:
            found = read_build(target)
        except NotAPackage as error:
            raise DeployError(f"What is kept as build {build} cannot be used: {error}") from None
        if found.build != build:
            raise DeployError(f"What is kept as build {build} is build {found.build}.")
        return found

    def list(self) -> list[KeptBuild]:
        """The newest first."""
        options = ["--prefix", "agent-", "--num-results", "*"]
        blobs = self._azure.run("storage", "blob", "list", *self._container, *options) or []
        found = [
            KeptBuild(match[1], str((blob.get("properties") or {}).get("lastModified", "")))
            for blob in blobs
            if (match := _KEPT.fullmatch(blob["name"]))
        ]
        return sorted(found, key=lambda kept: kept.uploaded, reverse=True)
