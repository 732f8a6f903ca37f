"""The folder that is uploaded: what Databricks Apps installs and starts, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from agent_server.access.access_check import RESOURCES_FILE
from ops.databricks_app import AppError
from ops.databricks_app.bundle import (
    BUNDLE_FILE,
    AppBundle,
    known_resources,
    placeholder,
    read_bundle_file,
    without_empty,
)
from ops.databricks_app.page import PAGE
from ops.package import PackageError
from ops.package.archive import BUILD_FILE, write_build_file
from ops.package.dependencies import read_lock
from ops.package.project import copy_files, tracked_files

LOCK = "agent_server/requirements.txt"
_LEFT_OUT = ("agent_server/ui/", "app/bot/", "app/local/")
_LEFT_OUT_FILES = {BUNDLE_FILE, LOCK, "agent_server/app.yaml"}
# Databricks would install the first with pip and run npm for the second, whatever pyproject.toml says.
NEVER_AT_THE_ROOT = ("requirements.txt", "package.json")
# https://docs.databricks.com/aws/en/dev-tools/databricks-apps/
MAX_FILE_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AppFolder:
    """`commit` is git's, empty where there is none; with a + where files differ from it. `build` is the fingerprint
    of everything else.
    """

    path: Path
    build: str
    commit: str

    def files(self) -> list[str]:
        return sorted(file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file())


def make_folder(
    root: Path, bundle: AppBundle, target: Path, write_lock: Callable[[Path, Path], None] = lambda root, folder: None
) -> AppFolder:
    """Writes `target`; `write_lock` puts uv.lock into it. Raises `AppError`.

    An earlier folder stays there until the new one is complete.
    """
    try:
        files = [file for file in tracked_files(root, "app", "agent_server") if _is_uploaded(file)]
    except PackageError as error:
        raise AppError(str(error)) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=target.parent) as temporary:
        folder = Path(temporary) / "app"
        copy_files(root, files, folder)
        if (root / PAGE).is_dir():
            shutil.copytree(root / PAGE, folder / PAGE)
        (folder / "pyproject.toml").write_text(_project(root), encoding="utf-8", newline="\n")
        (folder / "app.yaml").write_text(app_yaml(bundle), encoding="utf-8", newline="\n")
        _write_bundle(root, bundle, folder / "databricks.yml")
        (folder / RESOURCES_FILE.name).write_text(_resources(bundle), encoding="utf-8", newline="\n")
        write_lock(root, folder)
        commit = git_commit(root)
        build = _seal(folder, str(_project_of(root)["version"]), commit)
        shutil.rmtree(target, ignore_errors=True)
        folder.replace(target)
    return AppFolder(target, build, commit)


def _seal(folder: Path, version: str, commit: str) -> str:
    """Writes the file that says what this is, and returns the build. Raises `AppError`."""
    for name in NEVER_AT_THE_ROOT:
        if (folder / name).exists():
            raise AppError(f"{name} must not be at the root: Databricks would install from it alone.")
    for file in folder.rglob("*"):
        if file.is_file() and file.stat().st_size > MAX_FILE_BYTES:
            raise AppError(f"{file.relative_to(folder)} is larger than the 10 MB that a file of an app may have.")
    build = write_build_file(folder, version)
    content = {"version": version, "build": build, "commit": commit}
    (folder / BUILD_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
    return build


def git_commit(root: Path) -> str:
    """The commit of `root`, with a + where tracked files differ from it; empty where git does not know."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _is_uploaded(file: str) -> bool:
    return not file.startswith(_LEFT_OUT) and file not in _LEFT_OUT_FILES and not file.endswith((".po", ".md"))


def _project_of(root: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _project(root: Path) -> str:
    """A project whose dependencies are those of the lock, and which has no others."""
    project = _project_of(root)
    pins = [str(requirement) for requirement, _ in read_lock(root / LOCK)]
    lines = [
        "[project]",
        f'name = "{project["name"]}"',
        f'version = "{project["version"]}"',
        f'requires-python = "{project["requires-python"]}"',
        "# Each version is that of agent_server/requirements.txt.",
        *_array("dependencies", pins),
        "",
        "[project.scripts]",
        f'agent-server = "{project["scripts"]["agent-server"]}"',
        "",
        "[build-system]",
        'requires = ["setuptools>=77"]',
        'build-backend = "setuptools.build_meta"',
        "",
        "[tool.setuptools.packages.find]",
        'include = ["app", "app.*", "agent_server", "agent_server.*"]',
        "namespaces = false",
        "",
    ]
    return "\n".join(lines)


def _array(name: str, values: Iterable[str]) -> list[str]:
    return [f"{name} = [", *(f"  {json.dumps(value)}," for value in values), "]"]


def _resources(bundle: AppBundle) -> str:
    """For the app's own check of its access."""
    return json.dumps(known_resources(bundle), indent=2) + "\n"


def app_yaml(bundle: AppBundle) -> str:
    """https://docs.databricks.com/aws/en/dev-tools/databricks-apps/app-runtime"""
    settings = [
        {"name": each.name, "valueFrom": each.value_from}
        if each.value_from is not None
        else {"name": each.name, "value": each.value}
        for each in bundle.settings
    ]
    return _yaml({"command": bundle.command, "env": settings})


def _write_bundle(root: Path, bundle: AppBundle, file: Path) -> None:
    """The bundle without what is empty; values of the command line become those of the target."""
    content = read_bundle_file(root / BUNDLE_FILE)
    for app in content["resources"]["apps"].values():
        without_empty(app, bundle.variables)
    chosen = content["targets"][bundle.target].setdefault("variables", {})
    for name, value in bundle.variables.items():
        if value not in (content["variables"][name].get("default"), placeholder(name)):
            chosen[name] = value
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        _dumper().dump(content, opened)


def _yaml(content: object) -> str:
    stream = StringIO()
    _dumper().dump(content, stream)
    return stream.getvalue()


def _dumper() -> YAML:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 200
    return yaml
