"""Programs that npm brings: installed once, and started with an environment that holds no secrets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from app.common.printable import printable

_INSTALL_SECONDS = 300.0
# npm's defaults wait for more than a minute where there is no network.
_NPM_OPTIONS = (
    *("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error", "--ignore-scripts"),
    *("--fetch-retries", "2", "--fetch-retry-mintimeout", "1000", "--fetch-retry-maxtimeout", "4000"),
)
# What Node.js needs on some system. It runs packages of others, so that it gets none of the developer's secrets.
_ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|XDG_\w+"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|USERPROFILE|HOMEDRIVE|HOMEPATH|APPDATA|LOCALAPPDATA|PROGRAM\w*"
    r"|(NVM|FNM|VOLTA|ASDF|MISE)_\w+|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR"
)
# For downloads only: these may hold a user name and a password.
_NETWORK = re.compile(r"HTTPS?_PROXY|NO_PROXY|NPM_CONFIG_\w+", re.IGNORECASE)
# The codes of npm and of Node.js: https://docs.npmjs.com/common-errors, https://nodejs.org/api/errors.html
_CAUSES = (
    (
        "ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT",
        "no connection to the npm registry. Check the network, and HTTPS_PROXY if a proxy leads out of it",
    ),
    (
        "SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?"
        "|UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_HAS_EXPIRED",
        "the certificate of the npm registry is not trusted here. Behind a proxy that opens TLS, set "
        "NODE_EXTRA_CA_CERTS to the file with its certificate",
    ),
    ("ENOSPC", "the disk is full"),
)


class NpmPackageError(Exception):
    """The program cannot be installed or started; `str()` says why."""


class NoNodeError(NpmPackageError):
    """Node.js, which is optional, is not installed."""


def node_environment(environment: Mapping[str, str], *, network: bool = False) -> dict[str, str]:
    """The variables of `environment` that Node.js is given; `network`: those for downloads too."""
    return {
        name: value
        for name, value in environment.items()
        if _ENVIRONMENT.fullmatch(name.upper()) or (network and _NETWORK.fullmatch(name))
    }


def locked_version(package: str, lock: Path) -> str:
    version: str = json.loads((lock / "package.json").read_text(encoding="utf-8"))["dependencies"][package]
    return version


async def installed_package(folder: Path, package: str, lock: Path) -> Path:
    """The package's own folder, installed by npm below `folder` the first time. Raises `NpmPackageError`.

    `lock` is the folder of package.json and package-lock.json.
    """
    wanted = locked_version(package, lock)
    installed = folder / "node_modules" / package
    if _version(installed) == wanted:
        return installed
    npm = shutil.which("npm")
    if npm is None:
        raise NoNodeError("Node.js is not installed (no npm on the PATH)")
    # Into another folder first, so that an interrupted install is never used.
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(lock / name, fresh)
    try:
        process = await asyncio.create_subprocess_exec(
            *(npm, "ci", "--prefix", str(fresh), *_NPM_OPTIONS),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=node_environment(os.environ, network=True),
        )
    except OSError as error:
        raise NpmPackageError(f"npm, at {npm}, cannot be run: {error.strerror}") from None
    try:
        async with asyncio.timeout(_INSTALL_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        raise NpmPackageError(f"npm did not install {package} within {_INSTALL_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode or _version(fresh / "node_modules" / package) != wanted:
        raise NpmPackageError(f"npm could not install {package}: {why_npm_failed(output.decode(errors='replace'))}")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return installed


def why_npm_failed(said: str) -> str:
    code = re.search(r"^npm (?:error|ERR!) code (\w+)$", said, re.MULTILINE)
    for codes, cause in _CAUSES:
        # Old versions of npm print the error of Node.js itself.
        if re.search(rf"\b({codes})\b", code[1] if code else said):
            return cause
    lines = [line for line in printable(said).splitlines() if "A complete log of this run" not in line]
    return " ".join(" ".join(lines[-3:]).split())[:500] or "it gave no reason"


def _version(package: Path) -> str | None:
    try:
        version: str = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, LookupError):
        return None
    return version
