"""uv.lock of the uploaded folder: the very files of agent_server/requirements.txt, from uv's own index."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from ops.databricks_app import AppError
from ops.databricks_app.folder import LOCK
from ops.package.dependencies import read_lock

_INDEX_SETTINGS = frozenset({"UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX", "UV_INDEX_URL"})


def write_lock(root: Path, folder: Path) -> None:
    """Has uv write `folder`/uv.lock. Raises `AppError`, also where a file is another than the lock of `root` names.

    From uv's own index, whatever this machine's settings name: an app in Databricks cannot reach a mirror.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _INDEX_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-m", "uv", "lock", "--quiet", "--no-config", "--project", str(folder)],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise AppError(f"uv could not lock the app's dependencies:\n{done.stderr.strip()}")
    check_hashes((folder / "uv.lock").read_text(encoding="utf-8"), root / LOCK)


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
