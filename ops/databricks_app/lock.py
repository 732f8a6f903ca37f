"""uv.lock of the uploaded folder: the very files of agent_server/requirements.txt, from the public index."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from ops.databricks_app import AppError
from ops.databricks_app.folder import LOCK
from ops.package.dependencies import read_lock

_INDEX = "https://pypi.org/simple"
_FILES = "https://files.pythonhosted.org"
_PUBLIC_HOSTS = {"pypi.org", "files.pythonhosted.org"}
_URL = re.compile(r'"(https?://[^"]+)"')
# Mirrors keep the path that the index gives a file.
_FILE_PATH = re.compile(r"/packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+$")


def write_lock(root: Path, folder: Path) -> None:
    """Has uv write `folder`/uv.lock. Raises `AppError`, also where a file is another than the lock of `root` names."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "lock", "--quiet", "--project", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        raise AppError(f"uv could not lock the app's dependencies:\n{done.stderr.strip()}")
    file = folder / "uv.lock"
    text = public(file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8", newline="\n")
    check_hashes(text, root / LOCK)


def public(lock: str) -> str:
    """The lock with the public index instead of a mirror's addresses, which a machine's own settings of uv leave there
    and an app in Databricks cannot reach. Raises `AppError`.
    """

    def replace(found: re.Match[str]) -> str:
        url = urlsplit(found[1])
        if url.hostname in _PUBLIC_HOSTS:
            return found[0]
        path = _FILE_PATH.search(url.path)
        if path:
            return f'"{_FILES}{path[0]}"'
        if re.search(r"registry = $", lock[max(0, found.start() - 20) : found.start()]):
            return f'"{_INDEX}"'
        raise AppError(
            f"uv.lock names a file at {url.hostname}, which is not known on the public index. An app cannot reach it: "
            "lock with UV_DEFAULT_INDEX=https://pypi.org/simple, or without the private index."
        )

    return _URL.sub(replace, lock)


def check_hashes(lock: str, requirements: Path) -> None:
    """Raises `AppError` where `lock` would install a file that `requirements` does not name."""
    known = {
        (requirement.name, str(requirement.specifier).removeprefix("==")): {
            each.removeprefix("--hash=") for each in hashes
        }
        for requirement, hashes in read_lock(requirements)
    }
    for package in tomllib.loads(lock)["package"]:
        if "registry" not in package["source"]:
            continue
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        expected = known.get((package["name"], package["version"]), set())
        if not {each["hash"] for each in files} <= expected:
            raise AppError(
                f"The index has other files of {package['name']} {package['version']} than {requirements.name} has the "
                "hashes of. Run `python3 dev.py lock` and look at what changed."
            )
