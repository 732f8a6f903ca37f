"""infra/azure.parameters.json and env/.env.dev give infra/azure.bicep what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.check.bicep.limits import refused
from ops.check.bicep.source import BicepFile, Declaration, inner, type_of
from ops.check.document import Document, UnreadableDocumentError
from ops.check.problem import Problem

PARAMETERS = "infra/azure.parameters.json"
ENVIRONMENT = "env/.env.dev"
# Linux Consumption gets no later one: https://learn.microsoft.com/azure/azure-functions/supported-languages
CONSUMPTION_PYTHONS = ("3.11", "3.12")

# What each databricksCredential takes.
_OF_CREDENTIAL = {
    "managed-identity": set[str](),
    "service-principal": {"databricksClientId", "databricksClientSecret"},
    "token": {"databricksToken"},
}

_PLACEHOLDER = re.compile(r"\$\{\{ *([A-Za-z_]\w*) *\}\}")


def check_parameters(root: Path, main: BicepFile) -> list[Problem]:
    undescribed = [
        main.problem(f"the parameter {name} has no @description", param.node)
        for name, param in main.of("param").items()
        if "description" not in param.decorators
    ]
    try:
        document = Document.read(root, PARAMETERS)
    except UnreadableDocumentError as error:
        return [*undescribed, error.problem]
    environment = _environment(root)
    return [*undescribed, *_given(document, main, environment), *_python(environment)]


def _given(document: Document, main: BicepFile, environment: dict[str, tuple[int, str]]) -> Iterator[Problem]:
    given = document.value.get("parameters") if isinstance(document.value, dict) else None
    if not isinstance(given, dict):
        yield document.problem("there must be an object 'parameters'")
        return
    wanted = main.of("param")
    for name, param in wanted.items():
        if param.value is None and name not in given:
            yield document.problem(f"{name} is missing, and {main.name} has no default for it", "parameters")
    yield from _credential(document, main, given, environment)
    for name, entry in given.items():
        if name not in wanted:
            yield document.problem(f"{main.name} has no parameter {name}", "parameters", name)
        elif not isinstance(entry, dict) or "value" not in entry:
            yield document.problem(f"{name} has no value", "parameters", name)
        else:
            yield from _of_entry(document, wanted[name], entry["value"], environment)


def _of_entry(
    document: Document,
    param: Declaration,
    value: Any,  # noqa: ANN401
    environment: dict[str, tuple[int, str]],
) -> Iterator[Problem]:
    where = ("parameters", param.name, "value")
    variables = _PLACEHOLDER.findall(value) if isinstance(value, str) else []
    if "secure" in param.decorators and (not variables or not all(name.startswith("SECRET_") for name in variables)):
        yield document.problem(f"{param.name} is a secret: its value must be a ${{{{SECRET_...}}}} variable", *where)
    if not variables:
        if wrong := refused(param, value):
            yield document.problem(f"{param.name} cannot be {value!r}: {wrong}", *where)
        return
    if type_of(param) != "string":
        yield document.problem(f"{param.name} is {type_of(param)}, and a variable is always text", *where)
    elif _PLACEHOLDER.fullmatch(value) and variables[0] in environment:
        number, filled = environment[variables[0]]
        if filled and (wrong := refused(param, filled)):
            yield Problem(ENVIRONMENT, number, f"{variables[0]} cannot be {filled!r}: {wrong}")


def _credential(
    document: Document, main: BicepFile, given: dict[str, Any], environment: dict[str, tuple[int, str]]
) -> Iterator[Problem]:
    """The credential that is chosen has what it needs, and nothing is given that it would ignore."""
    default = main.of("param").get("databricksCredential")
    written = inner(default.value) if default is not None and default.value is not None else ""
    chosen = _filled(given.get("databricksCredential", {"value": written}), environment)
    if chosen not in _OF_CREDENTIAL:
        return
    if chosen == "service-principal" and _filled(given.get("databricksClientId"), environment) == "":
        where = "databricksClientId" if "databricksClientId" in given else "databricksCredential"
        yield document.problem("with service-principal databricksClientId is needed", "parameters", where)
    for name in sorted({name for names in _OF_CREDENTIAL.values() for name in names} & set(given)):
        if name not in _OF_CREDENTIAL[chosen]:
            yield document.problem(f"with databricksCredential {chosen} {name} does nothing", "parameters", name)


def _filled(entry: Any, environment: dict[str, tuple[int, str]]) -> str | None:  # noqa: ANN401
    """Its value, that of its variable in the environment file, or None where that is set elsewhere."""
    value = entry.get("value") if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value.strip():
        return ""
    variable = _PLACEHOLDER.fullmatch(value)
    return value if variable is None else environment.get(variable[1], (0, None))[1]


def _environment(root: Path) -> dict[str, tuple[int, str]]:
    """Each variable's line and value. Whether the file is complete is another check's to say."""
    path = root / ENVIRONMENT
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    found = {}
    for number, text in enumerate(lines, 1):
        name, equals, value = text.partition("=")
        if equals and not text.lstrip().startswith("#"):
            found[name.strip()] = number, value.partition(" #")[0].strip().strip("'\"")
    return found


def _python(environment: dict[str, tuple[int, str]]) -> Iterator[Problem]:
    number, version = environment.get("PYTHON_VERSION", (1, ""))
    plan = environment.get("HOSTING_PLAN", (1, "consumption"))[1]
    if version and plan == "consumption" and version not in CONSUMPTION_PYTHONS:
        known = ", ".join(CONSUMPTION_PYTHONS)
        yield Problem(
            ENVIRONMENT, number, f"Linux Consumption has no Python {version}, only {known}: or HOSTING_PLAN=flex"
        )
