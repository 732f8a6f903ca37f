"""Makes the package of a folder: our files, the dependencies, the bytecode, the build file, the zip."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.package import SITE_PACKAGES, PackageError
from ops.package.archive import write_build_file, write_zip
from ops.package.bytecode import Interpreter, compile_package, find_interpreter
from ops.package.dependencies import install_wheels, trim
from ops.package.project import copy_files, deployed_files

Install = Callable[[Path, Path, str], None]
"""Fills a folder with the dependencies of a project, for a version of Python."""


@dataclass(frozen=True, slots=True)
class Package:
    """`sha256` is the zip's. `not_compiled` names files of dependencies that are no Python of this version."""

    zip: Path
    folder: Path
    version: str
    build: str
    sha256: str
    interpreter: Interpreter
    not_compiled: list[str]


def make_package(root: Path, output: Path, python: str, install: Install | None = None) -> Package:
    """Writes `output`/agent.zip and the same content unpacked in `output`/agent. Raises `PackageError`.

    An earlier package stays there until the new one is complete.
    """
    version = _version_of(root)
    files = deployed_files(root)
    interpreter = find_interpreter(python)
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=output) as temporary:
        folder, archive = Path(temporary) / "agent", Path(temporary) / "agent.zip"
        copy_files(root, files, folder)
        (install or install_wheels)(root, folder / SITE_PACKAGES, python)
        trim(folder / SITE_PACKAGES)
        not_compiled = compile_package(folder, interpreter)
        build = write_build_file(folder, version)
        sha256 = write_zip(folder, archive)
        shutil.rmtree(output / folder.name, ignore_errors=True)
        folder.replace(output / folder.name)
        archive.replace(output / archive.name)
    return Package(output / archive.name, output / folder.name, version, build, sha256, interpreter, not_compiled)


def _version_of(root: Path) -> str:
    try:
        return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise PackageError(f"pyproject.toml does not say the version: {error!r}") from None
