"""`python -m ops.bicep`: compiles infra/ where there is a Bicep compiler, and compares infra/snapshots with the result.

`--write` writes what the compiler makes: formatted sources, the template as JSON, and for each parameter file the
resources that a deployment would make. Tests judge those files, so that they need no compiler. Without one the sources'
fingerprint still tells that they have changed since.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ops.command import DEV

ROOT = Path(__file__).resolve().parents[1]
TOOLKIT = "m365agents.yml"
_TEMPLATE = "infra/azure.bicep"
_SNAPSHOTS = "infra/snapshots"
_FINGERPRINT = f"{_SNAPSHOTS}/sources.sha256"
_COMPILED = ("*.bicep", "*.bicepparam", "bicepconfig.json", "workbook.json")
# A deployment into no real place, the same wherever this runs.
_PLACE = {
    "tenant-id": "00000000-0000-4000-8000-000000000002",
    "subscription-id": "00000000-0000-4000-8000-000000000001",
    "resource-group": "agent",
    "location": "westeurope",
    "deployment-name": "databricks-agent",
}
_TIMEOUT_SECONDS = 300.0
_PINNED = re.compile(r"^\s*bicepCliVersion:\s*v(\S+)", re.MULTILINE)
# The compiler's exit code is 0 for warnings, among them a misspelt property.
_DIAGNOSTIC = re.compile(r"^(.*\(\d+,\d+\)) : ((?:Warning|Error) .*)$", re.MULTILINE)


class CompilerError(Exception):
    """The compiler cannot be used; `str()` says why and what to do."""


def pinned_version(root: Path) -> str:
    """The version that provision uses, such as 0.49.2. Another one may compile to something else."""
    found = _PINNED.search((root / TOOLKIT).read_text(encoding="utf-8"))
    if found is None:
        raise CompilerError(f"{TOOLKIT} has no bicepCliVersion such as v0.49.2")
    return found[1]


def find_compiler(environment: Mapping[str, str], version: str) -> str | None:
    """The first of this version: `$BICEP`, the `bicep` on the PATH, or the one that `az bicep install` installed.

    Raises `CompilerError` if `$BICEP` is not of this version.
    """
    if given := environment.get("BICEP"):
        if _version_of(given) != version:
            raise CompilerError(f"BICEP={given} is not Bicep {version}, which {TOOLKIT} provisions with")
        return given
    azure = Path(environment.get("AZURE_CONFIG_DIR") or Path.home() / ".azure") / "bin"
    found = (shutil.which("bicep", path=path) for path in (environment.get("PATH"), str(azure)))
    return next((compiler for compiler in found if compiler and _version_of(compiler) == version), None)


def _version_of(compiler: str) -> str | None:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, encoding="utf-8", timeout=_TIMEOUT_SECONDS)
    except OSError:
        return None
    found = re.search(r"\d{1,9}\.\d{1,9}\.\d{1,9}", done.stdout)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Compiled:
    """`files` has the text of every file that the compiler makes, by its path below the repository."""

    files: dict[str, str]
    problems: list[str]


def compile_infra(compiler: str, root: Path) -> Compiled:
    """In a copy, since the compiler writes beside its input. Raises `CompilerError` if the compiler hangs."""
    with TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        shutil.copytree(root / "infra", copy / "infra", ignore=shutil.ignore_patterns("*.snapshot.json"))
        parameters = sorted((copy / _SNAPSHOTS).glob("*.bicepparam"))
        place = [part for name, value in _PLACE.items() for part in (f"--{name}", value)]
        commands = [["build", str(copy / _TEMPLATE), "--outfile", str(copy / _SNAPSHOTS / "azure.json")]]
        commands += [["snapshot", str(file), "--mode", "overwrite", *place] for file in parameters]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = pool.map(lambda command: _run(compiler, copy, command), commands)
            problems = {problem for run in runs for problem in run}
        for pattern in ("**/*.bicep", "**/*.bicepparam"):
            problems |= set(_run(compiler, copy, ["format", "--pattern", f"infra/{pattern}"]))
        return Compiled(dict(_compiled_files(copy)) if not problems else {}, sorted(problems))


def _run(compiler: str, folder: Path, command: list[str]) -> list[str]:
    """The warnings and errors. Raises `CompilerError` if the compiler hangs."""
    try:
        done = subprocess.run(
            [compiler, *command],
            cwd=folder,
            env=os.environ | {"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise CompilerError(f"bicep {command[0]} had not ended after {_TIMEOUT_SECONDS:.0f} s: try again") from None
    errors = done.stderr.replace(f"{folder}{os.sep}", "")
    found = [f"{place}: {sentence}" for place, sentence in _DIAGNOSTIC.findall(errors)]
    return found or ([f"bicep {command[0]}: {errors.strip()}"] if done.returncode else [])


def _sources(root: Path) -> dict[str, str]:
    files = sorted(file for pattern in _COMPILED for file in (root / "infra").rglob(pattern))
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}


def fingerprint(root: Path) -> str:
    content = json.dumps(_sources(root), sort_keys=True)
    return f"{hashlib.sha256(content.encode()).hexdigest()}\n"


def _compiled_files(copy: Path) -> Iterator[tuple[str, str]]:
    yield from _sources(copy).items()
    yield _FINGERPRINT, fingerprint(copy)
    for file in [copy / _SNAPSHOTS / "azure.json", *sorted((copy / _SNAPSHOTS).glob("*.snapshot.json"))]:
        value = _ordered(json.loads(file.read_text(encoding="utf-8")))
        yield file.relative_to(copy).as_posix(), json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _ordered(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Without the compiler's version, and in the same order at every run."""
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    ordered = {name: _ordered(item) for name, item in value.items() if name != "_generator"}
    if "predictedResources" in ordered:
        ordered["predictedResources"].sort(key=lambda resource: json.dumps(resource, sort_keys=True))
    return ordered


def stale_files(compiled: Compiled, root: Path) -> list[str]:
    known = {file.relative_to(root).as_posix() for file in (root / _SNAPSHOTS).glob("*.json")}
    return sorted(
        name
        for name in known | set(compiled.files)
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != compiled.files.get(name)
    )


def main(arguments: list[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.bicep", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what the compiler makes of infra/")
    write = parser.parse_args(arguments).write
    try:
        version = pinned_version(root)
        compiler = find_compiler(os.environ, version)
        if compiler is None:
            return _without_compiler(version, root, write=write)
        compiled = compile_infra(compiler, root)
    except CompilerError as error:
        print(error, file=sys.stderr)
        return 1
    problems = compiled.problems or ([] if write else _stale_messages(compiled, root))
    print("\n".join(problems) or f"Bicep {version} has no warning.", file=sys.stderr if problems else sys.stdout)
    if problems:
        return 1
    for name in stale_files(compiled, root) if write else []:
        _write(root / name, compiled.files.get(name))
        print(f"{name} is written anew." if name in compiled.files else f"{name} is deleted.")
    return 0


def _without_compiler(version: str, root: Path, *, write: bool) -> int:
    print(f"infra/ is not compiled: there is no Bicep {version} (az bicep install --version v{version})")
    file = root / _FINGERPRINT
    if write or (file.is_file() and file.read_text(encoding="utf-8") == fingerprint(root)):
        return int(write)
    print(f"infra/ has changed since {_SNAPSHOTS} was written: {DEV} snapshots", file=sys.stderr)
    return 1


def _stale_messages(compiled: Compiled, root: Path) -> list[str]:
    return [f"{name}: not what the compiler makes of infra/: {DEV} snapshots" for name in stale_files(compiled, root)]


def _write(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
