"""Resources: dated API versions, names that fit, routes that exist, and what the app expects to find."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path

from tree_sitter import Node

from ops.check.bicep.source import BicepFile, Declaration, arguments, function_name, inner, parts, said
from ops.check.bicep.values import MAIN, Placed, Scope, names
from ops.check.problem import Problem

OUTPUTS = (
    *("BOT_ID", "BOT_TENANT_ID", "BOT_DOMAIN", "BOT_AZURE_FUNCTION_APP_RESOURCE_ID"),
    *("FUNCTION_APP_NAME", "STORAGE_ACCOUNT_NAME", "PACKAGE_CONTAINER_NAME", "HEALTH_URL"),
)
_STORAGE = "Microsoft.Storage/storageAccounts"
_WANTED = {"Microsoft.BotService/botServices/channels": ("MsTeamsChannel",)}
_VERSION = re.compile(r"[\w.]+(/[\w.]+)+@(\d{4}-\d{2}-\d{2})(-preview)?")
# Types that Azure has never given a version without -preview.
_PREVIEW = {"Microsoft.Insights/diagnosticSettings"}
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
_LONGEST = {
    _STORAGE: 24,
    "Microsoft.KeyVault/vaults": 24,
    "Microsoft.Web/sites": 32,  # beyond, two apps on one storage account share a host id
    "Microsoft.Web/serverfarms": 40,
    "Microsoft.BotService/botServices": 42,
    "Microsoft.OperationalInsights/workspaces": 63,
    "Microsoft.ManagedIdentity/userAssignedIdentities": 128,
}


def check_versions(files: Mapping[str, BicepFile], today: date) -> list[Problem]:
    return [
        file.problem(sentence, resource.node)
        for file in files.values()
        for resource in file.of("resource").values()
        for sentence in _version(resource, today)
    ]


def _version(resource: Declaration, today: date) -> Iterator[str]:
    version = _VERSION.fullmatch(resource.source)
    if version is None:
        yield f"{resource.name} needs a type with a dated API version, not '{resource.source}'"
    elif (published := _day(version[2])) is None:
        yield f"{resource.name} uses an API version that is no date: {resource.source}"
    elif published > today:
        yield f"{resource.name} uses an API version of a day to come: {resource.source}"
    elif version[3] and resource.resource_type not in _PREVIEW:
        yield f"{resource.name} uses a preview of the API, which Azure may take away: {resource.source}"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def check_wanted(deployed: Iterable[Scope]) -> list[Problem]:
    scopes = list(deployed)
    if not scopes:
        return []
    main = scopes[0].file
    found = [main.problem(f"{MAIN} has no output {name}") for name in OUTPUTS if name not in main.of("output")]
    for resource_type, wanted in _WANTED.items():
        made = {
            name.text
            for scope in scopes
            for resource in scope.file.resources(resource_type)
            for name in names(scope, resource)
        }
        short = resource_type.rpartition("/")[2]
        found += [main.problem(f"the app needs '{name}' among its {short}") for name in wanted if name not in made]
    return [*found, *(problem for scope in scopes for problem in _names_too_long(scope))]


def _names_too_long(scope: Scope) -> Iterator[Problem]:
    for resource_type, limit in _LONGEST.items():
        for resource in scope.file.resources(resource_type):
            for name in Placed(scope, resource.body).at("name") if resource.body is not None else ():
                length = longest(name)
                file = name.scope.file
                if length is None:
                    yield file.problem(f"how long can the name of {resource.name} be? No @maxLength says", name.node)
                elif length > limit:
                    sentence = f"the name of {resource.name} can have {length} of {limit} characters"
                    yield file.problem(sentence, name.node)


def longest(place: Placed) -> int | None:
    """The most characters that a string can have."""
    lengths = [_length(branch.scope, branch.node) for branch in place.branches()]
    known = [length for length in lengths if length is not None]
    return max(known) if known and len(known) == len(lengths) else None


def _length(scope: Scope, node: Node) -> int | None:
    if node.type == "string":
        lengths = [
            longest(Placed(scope, parts(part)[0])) if part.type == "interpolation" else len(said(part))
            for part in node.named_children
        ]
        return None if None in lengths else sum(length or 0 for length in lengths)
    if node.type == "identifier":
        param = scope.file.of("param").get(said(node))
        bound = param.decorators.get("maxLength") if param is not None else None
        return int(said(bound[0])) if bound else None
    if node.type == "call_expression":
        return _length_of_call(scope, function_name(node), arguments(node))
    return None


def _length_of_call(scope: Scope, name: str, given: list[Node]) -> int | None:
    if name == "uniqueString":
        return 13
    first = longest(Placed(scope, given[0])) if given else None
    if name == "take" and len(given) == 2 and said(given[1]).isdigit():
        return int(said(given[1])) if first is None else min(first, int(said(given[1])))
    shorter = name in {"toLower", "toUpper", "trim"} or (name == "replace" and len(inner(given[2])) <= 1)
    return first if shorter else None


def check_addresses(root: Path, deployed: Iterable[Scope]) -> list[Problem]:
    """The bot's endpoint and the health probe lead to functions that function_app.py has."""
    routes = _routes(root)
    return [problem for scope in deployed for problem in _addresses(scope, routes)]


def _addresses(scope: Scope, routes: set[str]) -> Iterator[Problem]:
    places = [
        place
        for resource_type, path in (
            ("Microsoft.BotService/botServices", ("properties", "endpoint")),
            ("Microsoft.Insights/webtests", ("properties", "Request", "RequestUrl")),
        )
        for resource in scope.file.resources(resource_type)
        for place in (Placed(scope, resource.body).at(*path) if resource.body is not None else ())
    ]
    health = scope.file.of("output").get("HEALTH_URL")
    if health is not None and health.value is not None:
        places.append(Placed(scope, health.value))
    for place in places:
        address = re.fullmatch(r"https://[^/]+(/.*)", place.text)
        if address is None or address[1] not in routes:
            yield place.scope.file.problem(
                f"{place.text} is no route of function_app.py: {_listed(routes)}", place.node
            )


def _listed(routes: set[str]) -> str:
    return ", ".join(sorted(routes)) or "it has none"


def _routes(root: Path) -> set[str]:
    """With the prefix of host.json."""
    try:
        tree = ast.parse((root / "function_app.py").read_text(encoding="utf-8"))
        host = json.loads((root / "host.json").read_text(encoding="utf-8"))
        prefix = host.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    except (OSError, ValueError, SyntaxError, AttributeError):
        return set()
    return {f"/{prefix}/{route}".replace("//", "/") for route in _routes_in(tree)}


def _routes_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "route":
            given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "route")]
            yield from (arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
