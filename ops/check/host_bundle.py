"""host.json: names that the host knows, and the bundle of extensions, without which there is no queue trigger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from ops.check.document import Document
from ops.check.problem import Problem

_VERSION = "2.0"
_BUNDLE = "extensionBundle"
_BUNDLE_ID = "Microsoft.Azure.Functions.ExtensionBundle"
# https://learn.microsoft.com/azure/azure-functions/functions-host-json
_NAMES = (
    *("$schema", "aggregator", "concurrency", "customHandler", _BUNDLE, "extensions", "functionTimeout", "functions"),
    *("healthMonitor", "logging", "managedDependency", "retry", "singleton", "telemetryMode", "version"),
    *("watchDirectories", "watchFiles"),
)
# https://learn.microsoft.com/nuget/concepts/package-versioning: the lower end may float, the upper may not.
_NUMBER = r"\d+(?:\.\d+){0,3}"
_LOWER = rf"(?:{_NUMBER}(?:\.\*)?|\*)"
_RANGE = re.compile(rf"[\[(]\s*(?:(?P<low>{_LOWER})\s*)?,\s*(?:(?P<high>{_NUMBER})\s*)?[\])]")
_WITHOUT_COMMA = re.compile(rf"{_LOWER}|\[\s*{_NUMBER}\s*\]")


def check_form(document: Document) -> Iterator[Problem]:
    for name in document.value:
        if name not in _NAMES:
            close = get_close_matches(name, _NAMES, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield document.problem(f"the Functions host knows no {name}{hint}", name)
    if document.value.get("version") != _VERSION:
        yield document.problem(f'version must be "{_VERSION}", or the Functions host does not start', "version")
    yield from _bundle(document)


def _bundle(document: Document) -> Iterator[Problem]:
    bundle = document.value.get(_BUNDLE)
    if not isinstance(bundle, dict):
        sentence = f"{_BUNDLE} must be an object with id and version: without it there is no queue trigger"
        yield document.problem(sentence, _BUNDLE)
        return
    for name in bundle:
        if name not in {"id", "version"}:
            yield document.problem(f"{_BUNDLE} has no {name}, only id and version", _BUNDLE, name)
    if bundle.get("id") != _BUNDLE_ID:
        sentence = f"{_BUNDLE}.id must be {_BUNDLE_ID}: without it there is no queue trigger"
        yield document.problem(sentence, _BUNDLE, "id")
    if not _is_range(bundle.get("version")):
        sentence = f"{_BUNDLE}.version must be a range of versions such as [4.*, 5.0.0)"
        yield document.problem(sentence, _BUNDLE, "version")


def _is_range(given: object) -> bool:
    text = given.strip() if isinstance(given, str) else ""
    found = _RANGE.fullmatch(text)
    if found is None:
        return _WITHOUT_COMMA.fullmatch(text) is not None
    low, high = found["low"], found["high"]
    if not low or not high:
        return bool(low or high)
    return _numbers(low) < _numbers(high)


def _numbers(version: str) -> list[int]:
    found = [int(part) for part in re.findall(r"\d+", version)]
    return found + [0] * (4 - len(found))
