"""Which of the repository's files are deployed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ops.package import PackageError

IGNORE_FILE = ".funcignore"
_NEEDED = ("function_app.py", "host.json", "app/__init__.py")
_NEVER = re.compile(
    r"""(app/local|ops|tests|benchmarks|evals|env|infra|appPackage)/.*
    | (.*/)?(local\.settings[^/]*\.json | [^/]*\.(user|env|pem|key|pfx|p12|publishsettings) | \.env[^/]*)""",
    re.VERBOSE | re.IGNORECASE,
)
_TEXT = {".py", ".json", ".txt", ".md", ".toml", ".yaml", ".yml"}


def deployed_files(root: Path) -> list[str]:
    """Paths that git tracks and `.funcignore` lets through, sorted. Raises `PackageError`.

    A file that git does not track is an error: it may hold anything, and the other files may need it.
    """
    forgotten = _forgotten(root)
    if forgotten:
        raise PackageError(
            f"git does not track {', '.join(forgotten[:5])}{' and others' if len(forgotten) > 5 else ''}. "
            f"What is to be deployed needs `git add`, what is not a line in {IGNORE_FILE}."
        )
    tracked = set(_git(root, "--cached"))
    files = sorted(tracked - set(_git(root, "--cached", "--ignored", f"--exclude-from={IGNORE_FILE}")))
    for file in files:
        if _NEVER.fullmatch(file):
            raise PackageError(f"{file} must not be deployed, but {IGNORE_FILE} lets it through. Add a line for it.")
        _check_is_file(root, file)
    for file in _NEEDED:
        if file not in files:
            raise PackageError(f"{file} is missing: git must track it and {IGNORE_FILE} must let it through.")
    return files


def tracked_files(root: Path, *folders: str) -> list[str]:
    """Paths below `folders` that git tracks, sorted. Raises `PackageError`, also where git does not track one there."""
    untracked = _git(root, "--others", "--exclude-standard", "--", *folders)
    if untracked:
        raise PackageError(
            f"git does not track {', '.join(untracked[:5])}{' and others' if len(untracked) > 5 else ''}. "
            "What belongs to the project needs `git add`, what does not a line in .gitignore."
        )
    files = sorted(set(_git(root, "--cached", "--", *folders)))
    for file in files:
        _check_is_file(root, file)
    return files


def _check_is_file(root: Path, file: str) -> None:
    if (root / file).is_symlink():
        raise PackageError(f"{file} is a symbolic link, which a package cannot hold. Put the file there itself.")
    if not (root / file).is_file():
        raise PackageError(f"{file} is tracked by git and not there. Bring it back, or git rm it.")


def _forgotten(root: Path) -> list[str]:
    """What would be deployed if git tracked it."""
    untracked = set(_git(root, "--others", "--exclude-standard"))
    ignored = set(_git(root, "--others", "--ignored", f"--exclude-from={IGNORE_FILE}"))
    return sorted(untracked - ignored)


def copy_files(root: Path, files: Sequence[str], target: Path) -> None:
    """Text gets the line ends of Linux, whatever git made of them on this machine."""
    for file in files:
        content = (root / file).read_bytes()
        if Path(file).suffix in _TEXT:
            content = content.replace(b"\r\n", b"\n")
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _git(root: Path, *options: str) -> list[str]:
    git = shutil.which("git")
    if git is None:
        raise PackageError("git was not found. It knows which files belong to the project: install it.")
    listed = subprocess.run([git, "ls-files", "-z", *options], cwd=root, capture_output=True)
    if listed.returncode:
        errors = listed.stderr.decode(errors="replace").strip()
        raise PackageError(
            f"git does not know which files of {root} belong to the project ({errors}). "
            "For a folder that is not a clone this helps: git init && git add ."
        )
    return [name for name in listed.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
