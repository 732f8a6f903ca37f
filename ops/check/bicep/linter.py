"""infra/bicepconfig.json: every rule of the compiler's linter stops a deployment, but for those named here."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ops.check.document import Document, UnreadableDocumentError
from ops.check.problem import Problem

CONFIG = "infra/bicepconfig.json"

# It would turn red by itself, as time goes by.
_OFF = {"use-recent-api-versions"}
# https://learn.microsoft.com/azure/azure-resource-manager/bicep/linter
_RULES = {
    *("adminusername-should-not-be-literal", "artifacts-parameters", "decompiler-cleanup"),
    *("explicit-values-for-loc-params", "max-outputs", "max-params", "max-resources", "max-variables"),
    *("nested-deployment-template-scoping", "no-conflicting-metadata", "no-hardcoded-env-urls"),
    *("no-hardcoded-location", "no-loc-expr-outside-params", "no-unnecessary-dependson"),
    *("no-unused-existing-resources", "no-unused-params", "no-unused-vars", "outputs-should-not-contain-secrets"),
    *("prefer-interpolation", "prefer-unquoted-property-names", "protect-commandtoexecute-secrets"),
    *("secure-parameter-default", "secure-params-in-nested-deploy", "secure-secrets-in-params"),
    *("simplify-interpolation", "simplify-json-null", "use-parent-property", "use-resource-symbol-reference"),
    *("use-safe-access", "use-secure-value-for-secure-inputs", "use-stable-resource-identifiers"),
}


def check_linter(root: Path) -> list[Problem]:
    try:
        config = Document.read(root, CONFIG)
    except UnreadableDocumentError as error:
        return [error.problem]
    return list(_wrong(config))


def _wrong(config: Document) -> Iterator[Problem]:
    core = _inside(config.value, "analyzers", "core")
    if core.get("enabled") is not True:
        yield config.problem("the linter must be enabled", "analyzers", "core", "enabled")
    where = ("analyzers", "core", "rules")
    rules = _inside(core, "rules")
    for name in rules:
        level = _inside(rules, name).get("level")
        if name not in _RULES | _OFF:
            close = get_close_matches(name, _RULES, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            yield config.problem(f"the linter has no rule {name} that this check knows{meant}", *where, name)
        elif name in _RULES and level != "error":
            yield config.problem(f"the rule {name} is {level!r}, and must be 'error'", *where, name, "level")
    for name in sorted(_RULES - set(rules)):
        yield config.problem(f"the rule {name} is missing", *where)


def _inside(value: Any, *path: str) -> dict[str, Any]:  # noqa: ANN401
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
