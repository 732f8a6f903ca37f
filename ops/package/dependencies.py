"""The locked dependencies as Linux wheels for the Python that Azure runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement

from ops.package import PackageError

LOCK = "requirements.txt"
# The C library of every Functions image of Python 3.11 to 3.13 is at least 2.28.
_NEWEST_GLIBC = 28
PLATFORMS = [
    *(f"manylinux_2_{minor}_x86_64" for minor in range(_NEWEST_GLIBC, 4, -1)),
    *(f"manylinux{name}_x86_64" for name in ("2014", "2010", "1")),
]

_FOR_COMPILERS = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h"}
_INSTALLERS_RECORDS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def install_wheels(root: Path, target: Path, python: str) -> None:
    """What the lock asks for on Linux with `python`, a version such as "3.12". Raises `PackageError`.

    pip is used, so that the registry and the certificates that this machine is configured with apply.
    """
    command = [sys.executable, "-m", "pip", "install", "--target", str(target), "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes"]
    command += ["--python-version", python, "--implementation", "cp", "--no-compile", "--quiet"]
    command += [option for platform in PLATFORMS for option in ("--platform", platform)]
    command += ["--no-input", "--disable-pip-version-check", "--retries", "2", "--progress-bar", "off"]
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / LOCK
        lock.write_text("\n".join(locked_for(root / LOCK, python)), encoding="utf-8")
        done = subprocess.run(
            [*command, "-r", str(lock)],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUTF8": "1"},
        )
    if done.returncode:
        raise PackageError(f"{_reason(done.stderr, python)}\n\n{done.stderr.strip()}")


def read_lock(lock: Path) -> Iterator[tuple[Requirement, list[str]]]:
    """Each requirement of a lock, and its hashes as pip's options."""
    for line in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            yield Requirement(requirement), [f"--hash={digest.strip()}" for digest in hashes]


def locked_for(lock: Path, python: str) -> Iterator[str]:
    """The requirements whose markers hold on Linux: pip would evaluate them for the machine that it runs on."""
    target: Mapping[str, str] = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    for requirement, hashes in read_lock(lock):
        if requirement.marker is None or requirement.marker.evaluate(target):
            yield " ".join([f"{requirement.name}{requirement.specifier}", *hashes])


def _reason(pip_errors: str, python: str) -> str:
    if re.search(r"connection broken|Could not fetch URL|HTTP error|SSLError|timed out", pip_errors):
        return f"The package registry could not be reached for the wheels of {LOCK}. pip said:"
    if "DO NOT MATCH THE HASHES" in pip_errors:
        return f"A wheel is another file than {LOCK} has the hash of, and is not installed. pip said:"
    package = re.search(r"No matching distribution found for (\S+?)==(\S+)", pip_errors)
    if package:
        return f"{package[1]} {package[2]} has no wheel for Linux and Python {python}. pip said:"
    return f"The wheels of {LOCK} for Linux and Python {python} could not be installed. pip said:"


def trim(site_packages: Path) -> None:
    """Removes what no run needs. Licences stay, and the metadata that `importlib.metadata` reads."""
    (site_packages / ".lock").unlink(missing_ok=True)
    for folder in [site_packages / "bin", site_packages / "Scripts", *site_packages.rglob("__pycache__")]:
        shutil.rmtree(folder, ignore_errors=True)
    for file in list(site_packages.rglob("*")):
        record = file.parent.suffix == ".dist-info" and file.name in _INSTALLERS_RECORDS
        if record or (file.suffix in _FOR_COMPILERS and file.is_file()):
            file.unlink()
