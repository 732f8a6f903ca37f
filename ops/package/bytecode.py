"""Compiled bytecode for every module, so that no start of the worker has to compile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ops.package import DEPLOYED_ROOT, SITE_PACKAGES, PackageError

_COMPILER = Path(__file__).with_name("compiler.py")
_PROBE = (
    "import json, sys; json.dump([sys.implementation.cache_tag, sys.version_info[3], sys.abiflags "
    "if hasattr(sys, 'abiflags') else '', '.'.join(map(str, sys.version_info[:3])), sys.executable], sys.stdout)"
)
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`version` has three parts, such as "3.12.4"."""

    command: Command
    version: str


def find_interpreter(python: str) -> Interpreter:
    """A released CPython of the version `python`, such as "3.12", on this machine. Raises `PackageError`."""
    for command in _candidates(python):
        if found := _interpreter(command, python):
            return found
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise PackageError(
        f"Python {python} is needed to compile the package, and there is none on this machine. Install it, "
        f"for example with `uv python install {python}`, or choose a version that is here and that the Function App "
        f"runs: --python {here}"
    )


def _candidates(python: str) -> Iterator[Command]:
    yield (sys.executable,)
    found = shutil.which(f"python{python}")
    if found:
        yield (found,)
    if os.name == "nt" and shutil.which("py"):
        yield ("py", f"-{python}")
    for folder in _pyenv_versions(python):
        yield (str(folder / "bin" / "python"),)
        yield (str(folder / "python.exe"),)
    options = ["--no-python-downloads", "--no-project", "--system"]
    uv = subprocess.run(
        [sys.executable, "-m", "uv", "python", "find", *options, python], capture_output=True, text=True
    )
    if uv.returncode == 0:
        yield (uv.stdout.strip(),)


def _pyenv_versions(python: str) -> list[Path]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [*root.glob(f"versions/{python}.*"), *root.glob(f"pyenv-win/versions/{python}.*")]
    released = [folder for folder in folders if folder.name.removeprefix(f"{python}.").isdigit()]
    return sorted(released, key=lambda folder: int(folder.name.rpartition(".")[2]), reverse=True)


def _interpreter(command: Command, python: str) -> Interpreter | None:
    try:
        probe = subprocess.run([*command, "-I", "-S", "-c", _PROBE], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if probe.returncode:
        return None
    cache_tag, release, abi, version, executable = json.loads(probe.stdout)
    # Pre-releases and builds without the global lock compile differently.
    right = cache_tag == f"cpython-{python.replace('.', '')}" and release == "final" and "t" not in abi
    # The interpreter itself, since a version manager's shim works only in the environment where it was found.
    return Interpreter((str(executable),), str(version)) if right else None


def compile_package(folder: Path, interpreter: Interpreter) -> list[str]:
    """Compiles all of `folder` in place; returns the dependencies' files that are no Python of this version.

    Raises `PackageError` for such a file of ours.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    workers = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda part: _compile(folder, part, interpreter), [files[n::workers] for n in range(workers)])
        failed = {file: problem for part in parts for file, problem in part.items()}
    ours = sorted(file for file in failed if not file.startswith(SITE_PACKAGES))
    if ours:
        line, message = failed[ours[0]]
        raise PackageError(f"{ours[0]}:{line}: not Python {interpreter.version}: {message}")
    return sorted(failed)


def _compile(folder: Path, files: Sequence[str], interpreter: Interpreter) -> dict[str, tuple[int, str]]:
    job = {"root": str(folder.resolve()), "deployed_root": DEPLOYED_ROOT, "files": files}
    command = [*interpreter.command, "-I", "-S", "-B", str(_COMPILER)]
    done = subprocess.run(command, input=json.dumps(job).encode(), capture_output=True)
    if done.returncode:
        raise PackageError(f"{command[0]} could not compile the package.\n\n{done.stderr.decode(errors='replace')}")
    return {file: (line, message) for file, (line, message) in json.loads(done.stdout).items()}
