"""The package's fingerprint, and its zip. Standard library only.

The same content has the same fingerprint everywhere; its zip has the same bytes wherever zlib is the same, for each
(zlib, zlib-ng) compresses in its own way.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.command import DEV

BUILD_FILE = "build.json"
_STARTING_POINT = re.compile(r"__pycache__/function_app\.cpython-3(\d+)\.pyc")


class NotAPackageError(Exception):
    """`str()` says what is wrong with the file."""


@dataclass(frozen=True, slots=True)
class Build:
    """`python` is the version that the package is compiled for, such as "3.12"."""

    build: str
    version: str
    python: str


def write_build_file(folder: Path, version: str) -> str:
    """Returns the build: the fingerprint of everything else in `folder`."""
    build = _fingerprint((name, path.read_bytes()) for name, path in files_of(folder) if name != BUILD_FILE)
    content = json.dumps({"version": version, "build": build}, indent=2) + "\n"
    (folder / BUILD_FILE).write_bytes(content.encode())
    return build


def _fingerprint(contents: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, content in contents:
        total.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
    return total.hexdigest()[:12]


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `folder` with its name in the package, sorted."""
    names = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return iter(sorted(names))


def write_zip(folder: Path, target: Path) -> str:
    """Returns the zip's SHA-256, in hexadecimal digits."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in files_of(folder):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes(), compresslevel=6)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def read_build(package: Path) -> Build:
    """The build that `package` names, after its content was verified. Raises `NotAPackageError`."""
    try:
        with zipfile.ZipFile(package) as archive:
            names = sorted(archive.namelist())
            build = json.loads(archive.read(BUILD_FILE))
            found = _fingerprint((name, archive.read(name)) for name in names if name != BUILD_FILE)
    except FileNotFoundError:
        raise NotAPackageError(f"there is no {package}") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise NotAPackageError(f"{package} is no package of `{DEV} package`: {error}") from None
    minor = next((match[1] for name in names if (match := _STARTING_POINT.fullmatch(name))), None)
    if minor is None or build.get("build") != found:
        raise NotAPackageError(f"{package} has been changed since `{DEV} package` made it")
    return Build(found, str(build.get("version")), f"3.{minor}")
