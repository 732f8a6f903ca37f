"""The `run` blocks of a workflow call commands and files that exist, and paste nothing in that a stranger wrote."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.check.document import Document, Key
from ops.check.problem import Problem

# What the runner sets: docs.github.com, "Variables reference".
RUNNER_VARIABLES = re.compile(r"GITHUB_\w+|RUNNER_\w+|CI|HOME|PATH|PWD|IFS")

DEV_COMMAND = re.compile(r"\bdev\.py\s+([\w-]+)")
_MODULE = re.compile(r"-m\s+((?:ops|app|benchmarks)(?:\.\w+)*)")
_FOLDERS = "infra|env|appPackage|ops|app|docs|tests|benchmarks|agent_server"
_FILE = re.compile(
    rf"(?<![\w./$}}-])(?:\./)?((?:{_FOLDERS}|\.github|\.ci)/[\w./*$}}{{-]+"
    r"|[\w-]+\.(?:py|toml|txt|yml|lock)|package(?:-lock)?\.json)(?![\w/])"
)
_VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)")
_ASSIGNED = re.compile(
    r"(?:^|[\s;(])(?:for\s+|read\s+(?:-\w+\s+)*)?([A-Z][A-Z0-9_]*)(?==|\s+in\s|\s*(?:;|$))", re.MULTILINE
)
_EXPRESSION = re.compile(r"\$\{\{((?:(?!\$\{\{).)*?)\}\}", re.DOTALL)
_PIPE = re.compile(r"(?<!\|)\|(?![|&])")
_REGISTRY = re.compile(
    r"--(?:registry|index-url|extra-index-url)\b|\b(?:registry|pypi|npm|packages?|files)\.[\w-]+\.\w+"
)


def text_of(root: Path, name: str) -> str:
    """Empty where there is no such file, and with marks where it is no UTF-8; that is for another check to say."""
    path = root / name
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def check_scripts(workflow: Document, root: Path) -> Iterator[Problem]:
    commands = dev_commands(root)
    for job_name, job in workflow.value["jobs"].items():
        for index, step in enumerate(job.get("steps") or []):
            path: tuple[Key, ...] = ("jobs", job_name, "steps", index)
            if "run" in step:
                yield from _script(workflow, root, commands, (*path, "run"), job, step)
            script = str((step.get("with") or {}).get("script", ""))
            yield from _injections(workflow, script, (*path, "with", "script"))
            yield from _files_of_with(workflow, root, step, path)
    for number, line in enumerate(workflow.text.splitlines(), 1):
        if _REGISTRY.search(line) or re.search(r"\bregistry-url:", line):
            yield Problem(workflow.name, number, "names a package registry: the runner's own configuration does that")


def _script(
    workflow: Document,
    root: Path,
    commands: frozenset[str],
    path: tuple[Key, ...],
    job: Mapping[str, Any],
    step: Mapping[str, Any],
) -> Iterator[Problem]:
    script = step["run"]
    yield from _injections(workflow, script, path)
    lines = list(_code(workflow, script, path))
    code = "\n".join(line for _, line in lines)
    known = {name for level in (workflow.value, job, step) for name in level.get("env") or {}}
    known |= set(_ASSIGNED.findall(code))
    shell = step.get("shell") or _default_shell(job) or _default_shell(workflow.value)
    if shell != "bash" and _PIPE.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", code)):
        yield workflow.problem("a failure left of a pipe is not noticed without shell: bash", *path)
    for number, line in lines:
        for command in DEV_COMMAND.findall(line):
            if command not in commands:
                yield Problem(workflow.name, number, f"dev.py has no command {command}")
        for module in _MODULE.findall(line):
            if not _is_module(root, module):
                yield Problem(workflow.name, number, f"there is no module {module}")
        for name in _FILE.findall(line):
            if not _exists(root, name):
                yield Problem(workflow.name, number, f"{name} does not exist")
        for variable in _VARIABLE.findall(re.sub(r"'[^']*'", "", line)):
            if variable not in known and not RUNNER_VARIABLES.fullmatch(variable):
                yield Problem(workflow.name, number, f"${variable} is not in the env of this step, job or workflow")


def _default_shell(level: Mapping[str, Any]) -> str | None:
    return (((level.get("defaults") or {}).get("run")) or {}).get("shell")


def _code(workflow: Document, script: str, path: tuple[Key, ...]) -> Iterator[tuple[int, str]]:
    """The lines of a script, without its comments, with their line in the file."""
    first = workflow.line(*path)
    if re.search(r"run:\s*[|>]", workflow.text.splitlines()[first - 1]):
        first += 1
    for offset, line in enumerate(script.splitlines()):
        yield first + offset, "" if line.lstrip().startswith("#") else line


def _injections(workflow: Document, script: str, path: tuple[Key, ...]) -> Iterator[Problem]:
    for number, line in _code(workflow, script, path):
        for expression in _EXPRESSION.findall(line):
            yield Problem(
                workflow.name,
                number,
                f"${{{{ {expression.strip()} }}}} is pasted into the script before it runs; hand it over in env",
            )


def _files_of_with(workflow: Document, root: Path, step: Mapping[str, Any], path: tuple[Key, ...]) -> Iterator[Problem]:
    given = step.get("with") or {}
    for name in str(given.get("cache-dependency-path", "")).split():
        if not _exists(root, name):
            yield workflow.problem(f"{name} does not exist", *path, "with", "cache-dependency-path")
    if step.get("uses", "").startswith("actions/upload-artifact@") and given.get("include-hidden-files") is not True:
        for name in str(given.get("path", "")).split():
            if re.search(r"(?:^|/)\.\w", name):
                yield workflow.problem(
                    f"{name} is hidden and left out without include-hidden-files", *path, "with", "path"
                )
    folder = step.get("working-directory")
    if folder and not _exists(root, folder):
        yield workflow.problem(f"{folder} does not exist", *path, "working-directory")


def _exists(root: Path, name: str) -> bool:
    """With variables in it, for one value of them. What git ignores is made on the way."""
    pattern = re.sub(r"\$\{?\w+\}?", "*", name).rstrip("/.")
    ignored = (line.strip() for line in text_of(root, ".gitignore").splitlines())
    if any(folder.endswith("/") and f"/{folder}" in f"/{pattern}/" for folder in ignored):
        return True
    return any(root.glob(pattern)) if "*" in pattern else (root / pattern).exists()


def _is_module(root: Path, module: str) -> bool:
    path = root.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def dev_commands(root: Path) -> frozenset[str]:
    """The commands that dev.py lists in HELP; a test of dev.py holds them to what it runs."""
    tree = ast.parse(text_of(root, "dev.py"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "HELP":
            return frozenset(re.findall(r"^  ([a-z][\w-]*)", ast.literal_eval(node.value), re.MULTILINE))
    return frozenset()
