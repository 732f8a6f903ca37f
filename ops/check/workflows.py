"""The workflows of GitHub Actions hold against their schema, pin what they run and may do no more than they need."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ops.check.document import Document, Key, UnreadableDocumentError
from ops.check.problem import Problem
from ops.check.workflow_scripts import check_scripts, text_of

FOLDER = ".github/workflows"
REQUIRED = (f"{FOLDER}/pull-request.yml", f"{FOLDER}/deploy.yml")
# They run with the repository's own rights on what a stranger proposes.
DANGEROUS_EVENTS = ("pull_request_target", "workflow_run")

_PINNED = re.compile(r"[\w.-]+/[\w./-]+@([0-9a-f]{40})")
_VERSION_COMMENT = re.compile(r"#\s*(v\d+(?:\.\d+)+)\s*$")
_EXPRESSION = re.compile(r"\$\{\{((?:(?!\$\{\{).)*?)\}\}", re.DOTALL)
_REFERENCE = re.compile(r"\b(needs|steps|inputs|matrix|secrets)\.([\w-]+)(?:\.outputs\.([\w-]+))?")


def check_workflows(root: Path) -> list[Problem]:
    names = sorted(path.relative_to(root).as_posix() for path in (root / FOLDER).glob("*.y*ml"))
    found: list[Problem] = []
    pins: dict[str, tuple[str, str]] = {}
    for name in sorted({*names, *REQUIRED}):
        try:
            workflow = Document.read(root, name)
        except UnreadableDocumentError as error:
            found.append(error.problem)
            continue
        wrong = workflow.against(_schema("github-workflows"))
        found += wrong
        if not wrong:
            found += _events(workflow)
            found += _pins(workflow, pins, root)
            found += _limits(workflow)
            found += _permissions(workflow)
            found += _sign_in(workflow)
            found += _expressions(workflow)
            found += _python_versions(workflow, root)
            found += _same_elsewhere(workflow, root)
            found += check_scripts(workflow, root)
    return found + _dependabot(root)


@cache
def _schema(name: str) -> Mapping[str, Any]:
    packaged = files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json"
    return dict(json.loads(packaged.read_text(encoding="utf-8")))


def _dependabot(root: Path) -> list[Problem]:
    try:
        return Document.read(root, ".github/dependabot.yml").against(_schema("dependabot"))
    except UnreadableDocumentError as error:
        return [error.problem]


def events(workflow: Document) -> Mapping[str, Any]:
    on = workflow.value["on"]
    if isinstance(on, str):
        return {on: None}
    return dict.fromkeys(on) if isinstance(on, list) else dict(on)


def strings(value: Any, *path: Key) -> Iterator[tuple[tuple[Key, ...], str]]:  # noqa: ANN401
    """Every text in `value`, with where it stands."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from strings(inner, *path, key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings(inner, *path, index)


def _events(workflow: Document) -> Iterator[Problem]:
    for event in DANGEROUS_EVENTS:
        if event in events(workflow):
            yield workflow.problem(
                f"{event} runs with the repository's rights on what a stranger proposes; use pull_request", "on", event
            )


def _uses(workflow: Document) -> Iterator[tuple[tuple[Key, ...], str]]:
    for path, text in strings(workflow.value["jobs"], "jobs"):
        if path[-1] == "uses" and (len(path) == 3 or path[2] == "steps"):
            yield path, text


def _pins(workflow: Document, pins: dict[str, tuple[str, str]], root: Path) -> Iterator[Problem]:
    source = workflow.text.splitlines()
    for path, used in _uses(workflow):
        if used.startswith("./"):
            if not (root / used).exists():
                yield workflow.problem(f"{used} does not exist", *path)
            continue
        pinned = _PINNED.fullmatch(used)
        version = _VERSION_COMMENT.search(source[workflow.line(*path) - 1])
        action = used.partition("@")[0]
        if not pinned:
            yield workflow.problem(f"{used} can change under us: pin {action} to the 40 hex digits of a commit", *path)
        elif not version:
            yield workflow.problem(f"{action} is pinned without its version in a comment, such as # v1.2.3", *path)
        elif pins.setdefault(action, (pinned[1], version[1])) != (pinned[1], version[1]):
            yield workflow.problem(f"{action} is pinned here to another commit or version than elsewhere", *path)


def _limits(workflow: Document) -> Iterator[Problem]:
    for name, job in workflow.value["jobs"].items():
        if "uses" not in job and "timeout-minutes" not in job:
            yield workflow.problem(
                f"the job {name} has no timeout-minutes, so that a hung step costs six hours", "jobs", name
            )
    if "concurrency" not in workflow.value:
        yield workflow.problem("no concurrency group: two runs can get in each other's way", "jobs")


def _permissions(workflow: Document) -> Iterator[Problem]:
    for name, job in workflow.value["jobs"].items():
        path: tuple[Key, ...] = ("jobs", name, "permissions") if "permissions" in job else ("permissions",)
        granted = job.get("permissions", workflow.value.get("permissions"))
        if granted is None:
            yield workflow.problem(
                f"the job {name} has no permissions, so that it gets the repository's default", *path
            )
            continue
        if not isinstance(granted, Mapping):
            yield workflow.problem(f"{granted} grants more than {name} needs: name each permission", *path)
            continue
        if "uses" in job:
            continue
        for scope in (scope for scope, access in granted.items() if access == "write"):
            if "pull_request" in events(workflow):
                yield workflow.problem(
                    f"{scope}: write, in a workflow that runs what a pull request brings", *path, scope
                )
            elif "environment" not in job:
                yield workflow.problem(
                    f"{scope}: write without an environment: nobody is asked before {name} runs", *path, scope
                )
    for path, used in _uses(workflow):
        step = _at(workflow.value, path[:-1])
        if used.startswith("actions/checkout@") and (step.get("with") or {}).get("persist-credentials") is not False:
            yield workflow.problem("checkout leaves the token on disk: persist-credentials: false", *path)


def _sign_in(workflow: Document) -> Iterator[Problem]:
    """Without a secret azure/login asks GitHub for a proof of who runs, and that is a permission."""
    signing_in: dict[Key, tuple[Key, ...]] = {}
    for path, used in _uses(workflow):
        if used.lower().startswith("azure/login@"):
            signing_in.setdefault(path[1], path)
    for name, path in signing_in.items():
        granted = workflow.value["jobs"][name].get("permissions", workflow.value.get("permissions"))
        if isinstance(granted, Mapping) and granted.get("id-token") != "write":
            yield workflow.problem(f"azure/login cannot sign in: the job {name} has no id-token: write", *path)


def _at(value: Any, path: tuple[Key, ...]) -> Any:  # noqa: ANN401
    for key in path:
        value = value[key]
    return value


def _expressions(workflow: Document) -> Iterator[Problem]:
    for path, text in strings(workflow.value):
        opened, closed = text.count("${{"), text.count("}}")
        if opened != closed:
            yield workflow.problem(f"{opened} ${{{{ but {closed} }}}} in {path[-1]}", *path)
        found = _EXPRESSION.findall(text)
        if path[-1] == "if" and not found:
            found = [text]
        for expression in found:
            if not expression.strip():
                yield workflow.problem("an empty ${{ }}", *path)
            for kind, name, output in _REFERENCE.findall(re.sub(r"'[^']*'", "", expression)):
                if sentence := _unknown(workflow, path, kind, name, output):
                    yield workflow.problem(sentence, *path)
        if path[-1] == "secrets" and text == "inherit":
            yield workflow.problem(
                "secrets: inherit hands over every secret; sign in with OpenID Connect instead", *path
            )


def _unknown(workflow: Document, path: tuple[Key, ...], kind: str, name: str, output: str) -> str | None:
    """What is wrong with `kind.name` or `kind.name.outputs.output` where it stands."""
    job = workflow.value["jobs"].get(path[1], {}) if path[0] == "jobs" and len(path) > 1 else {}
    if kind == "secrets":
        return None if name == "GITHUB_TOKEN" else f"secrets.{name}: store no secret, sign in with OpenID Connect"
    if kind == "inputs":
        declared: set[str] = set()
        for event in ("workflow_dispatch", "workflow_call"):
            declared |= set(((events(workflow).get(event) or {}).get("inputs")) or {})
        return None if name in declared else f"there is no input {name}"
    if kind == "matrix":
        matrix = (job.get("strategy") or {}).get("matrix") or {}
        return None if isinstance(matrix, str) or name in {*matrix, "include"} else f"the matrix has no {name}"
    if kind == "needs":
        needed = job.get("needs") or []
        if name not in ([needed] if isinstance(needed, str) else needed):
            return f"needs.{name}, but this job does not name {name} under needs"
        outputs = (workflow.value["jobs"].get(name) or {}).get("outputs") or {}
        return f"the job {name} has no output {output}" if output and output not in outputs else None
    before = job.get("steps") or []
    if len(path) > 3 and path[2] == "steps":
        before = before[: int(path[3])]
    return None if any(step.get("id") == name for step in before) else f"no earlier step has the id {name}"


def supported_pythons(root: Path) -> list[str]:
    """The minor versions that pyproject.toml's requires-python admits, such as `3.11`."""
    project = tomllib.loads(text_of(root, "pyproject.toml")).get("project", {})
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project.get("requires-python", ""))
    return [f"3.{minor}" for minor in range(int(bounds[1]), int(bounds[2]))] if bounds else []


def _python_versions(workflow: Document, root: Path) -> Iterator[Problem]:
    supported = supported_pythons(root)
    rehearsed = set(re.findall(r"\b3\.\d+\b", text_of(root, ".ci/run")))
    for name, job in workflow.value["jobs"].items():
        listed = ((job.get("strategy") or {}).get("matrix") or {}).get("python")
        tests = any("dev.py test" in step.get("run", "") for step in job.get("steps") or [])
        if listed is None and tests:
            yield workflow.problem(
                f"{name} tests one Python; pyproject.toml promises {', '.join(supported)}", "jobs", name
            )
        if listed is not None:
            path: tuple[Key, ...] = ("jobs", name, "strategy", "matrix", "python")
            if not all(isinstance(version, str) for version in listed):
                yield workflow.problem("a Python version without quotes is a number: 3.10 would be 3.1", *path)
            elif sorted(listed) != sorted(supported):
                yield workflow.problem(
                    f"tests on Python {', '.join(listed)}; pyproject.toml promises {', '.join(supported)}", *path
                )
            elif not {supported[0], supported[-1]} <= rehearsed <= set(listed):
                yield workflow.problem(f"tests on Python {', '.join(listed)}; .ci/run knows others", *path)
        for index, step in enumerate(job.get("steps") or []):
            version = (step.get("with") or {}).get("python-version")
            if version is not None and version not in supported and "${{" not in str(version):
                yield workflow.problem(
                    f"python-version {version!r} is none of {', '.join(supported)}",
                    *("jobs", name, "steps", index, "with", "python-version"),
                )


def _same_elsewhere(workflow: Document, root: Path) -> Iterator[Problem]:
    """The Bicep and the Python that people provision and package with are those of the workflows."""
    toolkit = re.search(r"^\s*bicepCliVersion:\s*(v[\d.]+)", text_of(root, "m365agents.yml"), re.MULTILINE)
    packaged = re.search(r"^PYTHON_VERSION=([\d.]+)", text_of(root, "env/.env.dev"), re.MULTILINE)
    for name, job in workflow.value["jobs"].items():
        steps = list(enumerate(job.get("steps") or []))
        for index, step in steps:
            for version in re.findall(r"az bicep install --version (\S+)", step.get("run", "")):
                if toolkit and version != toolkit[1]:
                    yield workflow.problem(
                        f"Bicep {version}; m365agents.yml provisions with {toolkit[1]}",
                        "jobs",
                        name,
                        "steps",
                        index,
                        "run",
                    )
            version = (step.get("with") or {}).get("python-version")
            packages = any("dev.py package" in other.get("run", "") for _, other in steps)
            if packages and packaged and version is not None and version != packaged[1]:
                yield workflow.problem(
                    f"packages with Python {version}; PYTHON_VERSION in env/.env.dev is {packaged[1]}",
                    *("jobs", name, "steps", index, "with", "python-version"),
                )
