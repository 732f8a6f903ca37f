"""Every `${{VARIABLE}}` has a value when the toolkit gets to it, and no secret is in a file that is committed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ops.check.document import Document, UnreadableDocumentError
from ops.check.environment import EnvironmentFile, environment_files, malformed_placeholders
from ops.check.lifecycle import Step, steps
from ops.check.manifest import manifest_is_read
from ops.check.problem import Problem
from ops.check.toolkit import FILES, objections

_BUILT_IN = {"TEAMSFX_ENV"}
# The toolkit stops at an empty variable, but for this one;
# the others it asks for or makes up when it provisions in Azure.
_MAY_BE_EMPTY = {"APP_NAME_SUFFIX"}
_ASKED_FOR = {"AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP_NAME", "RESOURCE_SUFFIX"}
_SECRET_NAME = re.compile(r"^SECRET_|PASSWORD|_TOKEN$|_KEY$|CLIENT_SECRET")
# A Databricks token, an Entra client secret, a storage key, a signature in a URL.
_SECRET_VALUE = re.compile(r"dapi[0-9a-f]{32}|dose[0-9a-f]{32}|\b\w{3}8Q~[\w.~-]{30,}|AccountKey=|[?&]sig=")
_VALUES = {
    "HOSTING_PLAN": ("consumption or flex", re.compile(r"consumption|flex")),
    "PYTHON_VERSION": ("3.11, 3.12 or 3.13", re.compile(r"3\.1[123]")),
    "RESOURCE_SUFFIX": ("3 to 12 small letters and digits", re.compile(r"[a-z0-9]{3,12}")),
    "BOT_DOMAIN": ("a host name, without https://", re.compile(r"[\w.-]+")),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A yml file with its environment."""

    document: Document
    environment: EnvironmentFile
    secrets: EnvironmentFile | None


def check_variables(root: Path) -> list[Problem]:
    problems = [*_about_git(root)]
    plans = []
    whole = manifest_is_read(root)
    for file, environment in [(yml, name) for yml in FILES for name in environment_files(root, yml)]:
        try:
            plan = _plan(root, file, environment)
        except UnreadableDocumentError as unreadable:
            problems.append(unreadable.problem)
            whole = False
            continue
        problems += _about_values(plan)
        if objections(plan.document) or not _is_read(root, plan):
            whole = False
        else:
            plans.append(plan)
            problems += _about_use(root, plan)
    # What is read in a file that is not understood would seem to be read nowhere.
    if whole:
        known = _mentioned(root, plans)
        problems += [problem for plan in plans for problem in _about_names(plan, known)]
    return sorted(set(problems))


def _is_read(root: Path, plan: Plan) -> bool:
    """Whether every file that its steps fill in is one; what is wrong with it is for another check to say."""
    in_order = [step for listed in steps(plan.document).values() for step in listed]
    try:
        filled = [Document.read(root, name).value for step in in_order for name in step.filled_files(root)]
    except UnreadableDocumentError:
        return False
    return all(isinstance(value, dict) and value for value in filled) and not malformed_placeholders(plan.document)


def _plan(root: Path, file: str, environment: str) -> Plan:
    sample = f"{environment}.user.sample"
    secrets = EnvironmentFile.read(root, sample) if (root / sample).exists() else None
    document, variables = Document.read(root, file), EnvironmentFile.read(root, environment)
    if not variables.variables and not variables.problems:
        raise UnreadableDocumentError(variables.problem("this file has no variables"))
    return Plan(document, variables, secrets)


def _about_git(root: Path) -> Iterator[Problem]:
    ignore = root / ".gitignore"
    patterns = ignore.read_text(encoding="utf-8", errors="replace").split() if ignore.is_file() else []
    if not {"env/.env.*.user", "*.user"} & set(patterns):
        yield Problem(".gitignore", 1, "env/.env.*.user is not ignored, and secrets are in such files")


def _about_values(plan: Plan) -> Iterator[Problem]:
    environment = plan.environment
    yield from environment.problems
    named = environment.name.rpartition(".")[2]
    if environment.value("TEAMSFX_ENV") != named:
        yield environment.problem(f"TEAMSFX_ENV must be {named}", "TEAMSFX_ENV")
    for file in filter(None, (environment, plan.secrets)):
        for variable in file.variables.values():
            secret = _SECRET_NAME.search(variable.name) or _SECRET_VALUE.search(variable.value)
            if variable.value and secret:
                sentence = (
                    f"{variable.name} is a secret in a file that is committed; it belongs in {environment.name}.user"
                )
                yield file.problem(sentence, variable.name)
            what, form = _VALUES.get(variable.name, ("", None))
            if variable.value and form and not form.fullmatch(variable.value):
                yield file.problem(f"{variable.name} must be {what}, not {variable.value!r}", variable.name)
    if environment.value("HOSTING_PLAN") == "consumption" and environment.value("PYTHON_VERSION") == "3.13":
        yield environment.problem("PYTHON_VERSION: Linux Consumption has no Python 3.13", "PYTHON_VERSION")


def _about_use(root: Path, plan: Plan) -> Iterator[Problem]:
    """In the order of the steps. What provision has written, deploy and publish find in the environment file."""
    lifecycles = steps(plan.document)
    everything = set().union(*(step.written(root) for in_order in lifecycles.values() for step in in_order))
    provisioned: set[str] = set()
    for in_order in lifecycles.values():
        written = set(provisioned)
        asked = _ASKED_FOR if any(step.action == "arm/deploy" for step in in_order) or provisioned else set()
        for step in in_order:
            yield from _about_step(root, plan, step, written | asked, everything)
            written |= step.written(root)
        provisioned |= written


def _about_step(root: Path, plan: Plan, step: Step, written: set[str], everything: set[str]) -> Iterator[Problem]:
    environment = plan.environment
    listed = _names(environment) | _names(plan.secrets) | (plan.secrets.offered if plan.secrets else set())
    for used in step.used(root, plan.document):
        name = used.variable
        if name in written | _BUILT_IN or environment.value(name) or (name in _MAY_BE_EMPTY and name in listed):
            continue
        if name in everything:
            sentence = f"{name} is not written yet when {step.action} needs it ({plan.document.name})"
        elif name in listed:
            continue
        else:
            close = get_close_matches(name, listed | everything, n=1)
            sentence = (
                f"no step of {plan.document.name} writes {name}, and {_place(environment, name)} does not list it"
            )
            sentence += f"; did you mean {close[0]}?" if close else ""
        yield Problem(used.file, used.line, sentence)
    for key, name in ((key, str(name)) for key, name in step.outputs.items()):
        if name not in listed:
            sentence = f"{name} is written here, and {_place(environment, name)} does not list it"
            yield plan.document.problem(sentence, *step.where, "writeToEnvironmentFile", key)


def _place(environment: EnvironmentFile, name: str) -> str:
    return environment.name + (".user.sample" if name.startswith("SECRET_") else "")


def _about_names(plan: Plan, known: set[str]) -> Iterator[Problem]:
    for file in filter(None, (plan.environment, plan.secrets)):
        for name in file.variables:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                yield file.problem(f"nothing reads or writes {name}{hint}", name)


def _mentioned(root: Path, plans: list[Plan]) -> set[str]:
    """Every name that a step reads or writes, or that a program in ops/ reads."""
    names = _BUILT_IN | _MAY_BE_EMPTY | _ASKED_FOR
    for plan in plans:
        for in_order in steps(plan.document).values():
            for step in in_order:
                names |= step.written(root) | {used.variable for used in step.used(root, plan.document)}
    for program in sorted((root / "ops").rglob("*.py")):
        if "check" not in program.relative_to(root).parts:
            names |= set(re.findall(r'"([A-Z][A-Z0-9_]+)"', program.read_text(encoding="utf-8")))
    return names


def _names(file: EnvironmentFile | None) -> set[str]:
    return set(file.variables) if file else set()
