"""Whatever holds what people said, or opens it, tells Log Analytics who was there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ops.check.bicep.source import Declaration, entries, parts, said
from ops.check.bicep.values import Scope
from ops.check.problem import Problem

_STORAGE = "Microsoft.Storage/storageAccounts"
_LOGGED = (
    *(f"{_STORAGE}/{kind}Services" for kind in ("blob", "queue", "table")),
    "Microsoft.KeyVault/vaults",
    "Microsoft.Web/sites",
    "Microsoft.BotService/botServices",
)


def check_diagnostics(deployed: Iterable[Scope]) -> list[Problem]:
    return [problem for scope in deployed for problem in _unlogged(scope)]


def _unlogged(scope: Scope) -> Iterator[Problem]:
    settings = scope.file.resources("Microsoft.Insights/diagnosticSettings")
    logged = {name for setting in settings if (name := _logs(setting))}
    for resource_type in _LOGGED:
        for resource in scope.file.resources(resource_type):
            if resource.name not in logged:
                sentence = f"{resource.name} has no diagnostic settings with logs: nobody would know who was there"
                yield scope.file.problem(sentence, resource.node)


def _logs(setting: Declaration) -> str:
    """The name of the resource whose log it keeps, if it keeps any."""
    written = entries(setting.body) if setting.body is not None else {}
    properties = entries(written["properties"][1]) if "properties" in written else {}
    logs = properties.get("logs")
    if "scope" not in written or logs is None or not parts(logs[1]):
        return ""
    return said(written["scope"][1])
