"""The locked dependencies as Linux wheels for the Python that Azure runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ops.package import PackageError

LOCK = "requirements.txt"
# The oldest C library among the Functions images of Python 3.11 to 3.13 is newer than this one.
PLATFORM = "x86_64-manylinux_2_28"

_FOR_COMPILERS = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h"}
_INSTALLERS_RECORDS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def install_wheels(root: Path, target: Path, python: str) -> None:
    """What the lock asks for on Linux with `python`, a version such as "3.12". Raises `PackageError`."""
    # uv, because pip evaluates the lock's markers for the Python and the system that run it.
    command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    command += ["--target", str(target), "--python-platform", PLATFORM, "--python-version", python]
    command += ["--only-binary", ":all:", "--no-deps", "--no-compile-bytecode", "--link-mode", "copy", "--quiet"]
    variables = {**os.environ, "UV_NO_PROGRESS": "1"}
    done = subprocess.run(
        [*command, "-r", str(root / LOCK)], capture_output=True, encoding="utf-8", errors="replace", env=variables
    )
    if done.returncode:
        raise PackageError(f"{_reason(done.stderr, python)}\n\n{done.stderr.strip()}")


def _reason(said: str, python: str) -> str:
    if "No module named uv" in said:
        return "uv is not installed here. `python dev.py package` installs it."
    # uv wraps its lines.
    said = " ".join(said.split())
    if re.search(r"dns error|[Cc]onnect|[Ff]ailed to fetch|timed out|[Nn]etwork", said):
        return f"The package registry could not be reached for the wheels of {LOCK}. uv said:"
    package = re.search(r"(?:Because|and) (\S+?)==(\S+?),? has no", said)
    if package:
        return f"{package[1]} {package[2]} has no wheel for Linux and Python {python}. uv said:"
    return f"The wheels of {LOCK} for Linux and Python {python} could not be installed. uv said:"


def trim(site_packages: Path) -> None:
    """Removes what no run needs. Licences stay, and the metadata that `importlib.metadata` reads."""
    (site_packages / ".lock").unlink(missing_ok=True)
    for folder in [site_packages / "bin", site_packages / "Scripts", *site_packages.rglob("__pycache__")]:
        shutil.rmtree(folder, ignore_errors=True)
    for file in list(site_packages.rglob("*")):
        record = file.parent.suffix == ".dist-info" and file.name in _INSTALLERS_RECORDS
        if record or (file.suffix in _FOR_COMPILERS and file.is_file()):
            file.unlink()
