"""What infra/snapshots says that a deployment makes, short enough to compare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dev
from app.foundry.tools.tool_definitions import tool_definitions
from app.settings.foundry_settings import FoundryToolSettings
from app.settings.genie_settings import GenieSettings

ROOT = Path(__file__).resolve().parents[3]
SNAPSHOTS = ROOT / "infra/snapshots"
DEV_COMMANDS = set(re.findall(r"^  ([\w-]+)", dev.HELP, re.MULTILINE))
NAMES = sorted(file.stem for file in SNAPSHOTS.glob("*.bicepparam"))

Resource = dict[str, Any]
# Each resource here is the only one of its type, or its name tells it from the others.
_ID = re.compile(r"/subscriptions/(?:[\w.-]+/)*?(\w+)/([\w.-]+)(?![\w./-])")
_REFERENCE = re.compile(r"reference\('<(\w+)>', '[\w-]+'\)")
_FORMAT = re.compile(r"format\('([^']*)', (.*)\)")
_OBJECT = re.compile(r"^param (\w+) = \{\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
_PROPERTY = re.compile(r"^  (\w+): '(.*)'$", re.MULTILINE)
_PARAMETER = re.compile(r"^param (\w+) = (?:'(.*)'|(\S+))$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where one resource names another, its id is `<type>`, and a reference to it `type.property`.

    `objects` has the parameters that are objects of texts, of several lines each.
    """

    plan: str
    credential: str
    parameters: Mapping[str, str]
    resources: list[Resource]
    objects: Mapping[str, Mapping[str, str]]

    def of(self, resource_type: str) -> list[Resource]:
        return [resource for resource in self.resources if resource["type"] == resource_type]

    def one(self, resource_type: str) -> Resource:
        (found,) = self.of(resource_type)
        return found

    @property
    def app_settings(self) -> dict[str, str]:
        listed = self.one("Microsoft.Web/sites")["properties"]["siteConfig"]["appSettings"]
        settings = {setting["name"]: setting["value"] for setting in listed}
        assert len(settings) == len(listed), "a setting is written twice"
        return settings


@cache
def deployment(name: str) -> Deployment:
    content = json.loads((SNAPSHOTS / f"{name}.snapshot.json").read_text(encoding="utf-8"))
    text = (SNAPSHOTS / f"{name}.bicepparam").read_text(encoding="utf-8")
    given = {found[1]: found[2] if found[3] is None else found[3] for found in _PARAMETER.finditer(text)}
    defaults = {key: each.get("defaultValue", "") for key, each in template()["parameters"].items()}
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in defaults.items()}
    parameters = texts | given
    resources = [_short(resource) | {"id": resource["id"]} for resource in content["predictedResources"]]
    objects = {found[1]: dict(_PROPERTY.findall(found[2])) for found in _OBJECT.finditer(text)}
    return Deployment(parameters["hostingPlan"], parameters["databricksCredential"], parameters, resources, objects)


@cache
def template() -> dict[str, Any]:
    """infra/azure.bicep as the compiler writes it: bounds, secure types and dependencies are here alone."""
    return dict(json.loads((SNAPSHOTS / "azure.json").read_text(encoding="utf-8")))


def modules() -> dict[str, dict[str, Any]]:
    """The deployments inside the template by their own names, such as `keyVault`."""
    found = (each for each in template()["resources"] if each["type"] == "Microsoft.Resources/deployments")
    return {re.findall(r"format\('(\w+)-", each["name"])[0]: each for each in found}


def _named(found: re.Match[str]) -> str:
    kind, name = found.groups()
    return f"<{kind} {name}>" if kind == "roleDefinitions" else f"<{kind}>"


def _short(value: Any) -> Any:
    if isinstance(value, str):
        text = _REFERENCE.sub(r"\1", _ID.sub(_named, value))
        written = _FORMAT.fullmatch(text[1:-1]) if text.startswith("[") else None
        return (
            written[1].format(*(f"{{{part.strip(chr(39))}}}" for part in written[2].split(", "))) if written else text
        )
    if isinstance(value, list):
        return [_short(item) for item in value]
    return {_short(name): _short(item) for name, item in value.items()} if isinstance(value, dict) else value


def foundry_queues(deployed: Deployment) -> set[str]:
    """What the queues of each tool begin with, as the app reads it from its settings."""
    given = {name: value for name, value in deployed.app_settings.items() if name.startswith("FOUNDRY_")}
    tools = tool_definitions(FoundryToolSettings.model_validate(given), GenieSettings.model_validate({}))
    return {f"azure-function-{tool.queue_name}" for tool in tools.values()}


@cache
def alerts() -> dict[str, Resource]:
    """The rules on logs by their names, such as `silence`."""
    deployed = deployment("flex-token")
    suffix = deployed.one("Microsoft.Insights/actionGroups")["name"].removeprefix("ag-")
    rules = deployed.of("Microsoft.Insights/scheduledQueryRules")
    return {each["name"].removeprefix("alert-").removesuffix(f"-{suffix}"): each for each in rules}


def query(alert: str) -> str:
    (criterion,) = alerts()[alert]["properties"]["criteria"]["allOf"]
    return str(criterion["query"])


def strings(value: object) -> Iterator[str]:
    """Those in a value of YAML or JSON, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)
