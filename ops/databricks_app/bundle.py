"""Reads agent_server/databricks.yml as the Databricks CLI does, as far as the app needs it.

https://docs.databricks.com/aws/en/dev-tools/bundles/variables
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ops.databricks_app import AppError

BUNDLE_FILE = "agent_server/databricks.yml"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_ENVIRONMENT_PREFIX = "BUNDLE_VAR_"
# https://docs.databricks.com/api/workspace/apps/create
_APP_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?")
_MAY_BE_LEFT_OUT = ("resources", "permissions")


@dataclass(frozen=True, slots=True)
class AppSetting:
    """An environment variable: a value, or the name of the resource that has it."""

    name: str
    value: str | None = None
    value_from: str | None = None


@dataclass(frozen=True)
class AppBundle:
    """The app of one target, with all variables in place. `content` is the `resources.apps` entry."""

    target: str
    variables: Mapping[str, object]
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def description(self) -> str:
        return str(self.content.get("description", ""))

    @property
    def command(self) -> list[str]:
        return [str(word) for word in self.content["config"]["command"]]

    @cached_property
    def settings(self) -> list[AppSetting]:
        return [
            AppSetting(each["name"], None if "value_from" in each else str(each["value"]), each.get("value_from"))
            for each in self.content["config"]["env"]
        ]

    @property
    def scopes(self) -> list[str]:
        return [str(scope) for scope in self.content.get("user_api_scopes") or ()]

    @property
    def resources(self) -> list[dict[str, Any]]:
        return [dict(each) for each in self.content["resources"]]

    @property
    def permissions(self) -> list[dict[str, str]]:
        return [dict(each) for each in self.content["permissions"]]

    @property
    def instances(self) -> tuple[int, int]:
        return int(self.content["compute_min_instances"]), int(self.content["compute_max_instances"])

    def setting(self, name: str) -> str:
        """The value of a setting, or of the resource that it names; empty where it is not set."""
        setting = next((each for each in self.settings if each.name == name), AppSetting(name, ""))
        if setting.value is not None:
            return setting.value
        resource = next(each for each in self.resources if each["name"] == setting.value_from)
        return value_of(resource)


def value_of(resource: Mapping[str, Any]) -> str:
    """What `valueFrom` puts into the environment for a resource; empty for a secret and a database.

    https://docs.databricks.com/aws/en/dev-tools/databricks-apps/environment-variables
    """
    for kind, key in (
        ("serving_endpoint", "name"),
        ("genie_space", "space_id"),
        ("sql_warehouse", "id"),
        ("experiment", "experiment_id"),
        ("job", "id"),
        ("uc_securable", "securable_full_name"),
        ("app", "name"),
    ):
        if kind in resource:
            return str(resource[kind][key])
    return ""


def known_resources(bundle: AppBundle) -> list[dict[str, Any]]:
    """Those without a placeholder."""
    unknown = {placeholder(name) for name in bundle.variables}
    return [
        each
        for each in bundle.resources
        if not any(isinstance(kind, Mapping) and unknown & set(kind.values()) for kind in each.values())
    ]


def load_bundle(
    root: Path,
    target: str,
    given: Mapping[str, str],
    environment: Mapping[str, str] = os.environ,
    *,
    complete: bool = True,
) -> AppBundle:
    """`given` are the variables of the command line. Where it need not be `complete`, a variable without a value stands
    as a placeholder. Raises `AppError`.
    """
    content = read_bundle_file(root / BUNDLE_FILE)
    if target not in content["targets"]:
        raise AppError(f"{BUNDLE_FILE} has no target {target!r}: {', '.join(content['targets'])}")
    variables = _variables(content, target, given, environment, complete)
    known = {f"var.{name}": value for name, value in variables.items()}
    known |= {"bundle.name": content["bundle"]["name"], "bundle.target": target}
    (app,) = content["resources"]["apps"].values()
    bundle = AppBundle(target, variables, _resolved(without_empty(app, variables), known))
    _check(bundle)
    return bundle


def placeholder(variable: str) -> str:
    return f"<{variable}>"


def read_bundle_file(file: Path) -> dict[str, Any]:
    """The file as ruamel.yaml keeps it, comments included. Raises `AppError`."""
    try:
        content: dict[str, Any] = YAML().load(file.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise AppError(f"{file} cannot be read: {error}") from None
    return content


def without_empty(app: dict[str, Any], variables: Mapping[str, object]) -> dict[str, Any]:
    """Drops what names an empty variable, and then the settings whose resource was dropped."""
    for section in _MAY_BE_LEFT_OUT:
        _keep(app[section], lambda each: not _names_empty(each, variables))
    resources = {each["name"] for each in app["resources"]}
    _keep(
        app["config"]["env"],
        lambda each: (
            not _names_empty(each, variables) and ("value_from" not in each or each["value_from"] in resources)
        ),
    )
    return app


def _keep(items: list[Any], wanted: Callable[[Any], bool]) -> None:
    """In place: ruamel.yaml's lists hold the comments too."""
    for index in reversed(range(len(items))):
        if not wanted(items[index]):
            del items[index]


def _names_empty(value: object, variables: Mapping[str, object]) -> bool:
    return any(variables.get(name.removeprefix("var."), None) == "" for name in _references(value))


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _references(each)
    elif isinstance(value, str):
        yield from _REFERENCE.findall(value)


def _variables(
    content: Mapping[str, Any], target: str, given: Mapping[str, str], environment: Mapping[str, str], complete: bool
) -> dict[str, object]:
    declared = content["variables"]
    for name in given:
        if name not in declared:
            raise AppError(f"{BUNDLE_FILE} has no variable {name!r}: {', '.join(declared)}")
    found: dict[str, object] = {}
    of_target = content["targets"][target].get("variables") or {}
    for name, variable in declared.items():
        if name in given:
            found[name] = _typed(given[name], variable)
        elif (from_environment := environment.get(f"{_ENVIRONMENT_PREFIX}{name}")) is not None:
            found[name] = _typed(from_environment, variable)
        elif name in of_target:
            found[name] = of_target[name]
        elif "default" in variable:
            found[name] = variable["default"]
        elif not complete:
            found[name] = placeholder(name)
        else:
            raise AppError(
                f"The variable {name} has no value ({variable['description'].rstrip('.')}). "
                f"Give it as --var {name}=..., or under targets.{target}.variables in {BUNDLE_FILE}."
            )
    return found


def _typed(text: str, variable: Mapping[str, object]) -> object:
    """A complex variable is given as YAML, of which JSON is a part."""
    return YAML(typ="safe").load(text) if variable.get("type") == "complex" else text


def _resolved(value: object, known: Mapping[str, object]) -> Any:  # noqa: ANN401 - as large as what is given
    if isinstance(value, Mapping):
        return {key: _resolved(each, known) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_resolved(each, known) for each in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return known[whole[1]]
    return _REFERENCE.sub(lambda found: str(known[found[1]]), value)


def _check(bundle: AppBundle) -> None:
    if not _APP_NAME.fullmatch(bundle.name):
        raise AppError(f"{bundle.name!r} is no name of an app: at most 30 of a-z, 0-9 and hyphens, a letter first.")
    identity = bundle.variables["identity"]
    if identity not in {"app", "person", "auto"}:
        raise AppError(f"identity is {identity!r}; it must be app, person or auto.")
    if identity == "person" and not bundle.scopes:
        raise AppError(
            "identity is person, and user_api_scopes is empty: Databricks would forward no person's token. "
            "Set it, for example to [model-serving, genie, sql]."
        )
    least, most = bundle.instances
    if not 1 <= least <= most:
        raise AppError(f"min_instances is {least} and max_instances {most}: the first is at least 1, and not larger.")
    if most > 1 and not any("postgres" in each or "database" in each for each in bundle.resources):
        raise AppError(f"max_instances is {most}: several instances share their conversations in Lakebase. Set it up.")
