"""The app in other languages: every language says everything that the manifest says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.check.document import Document, UnreadableDocumentError
from ops.check.environment import EnvironmentFile, malformed_placeholders, placeholders
from ops.check.problem import Problem

SCHEMA = "teams-manifest-localization-v{}.schema.json"
SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"


def check_localization(root: Path, manifest: Document, environments: list[EnvironmentFile]) -> Iterator[Problem]:
    path = SCHEMAS / SCHEMA.format(manifest.value.get("manifestVersion"))
    info = manifest.value.get("localizationInfo")
    if not path.is_file() or not isinstance(info, dict):
        return
    schema = json.loads(path.read_text(encoding="utf-8"))
    wanted = {key: text for key, text in _strings(manifest.value, "") if _is_translated(key, text, schema)}
    tags, files = {info.get("defaultLanguageTag")}, set()
    for index, language in enumerate(info.get("additionalLanguages", [])):
        where = ("localizationInfo", "additionalLanguages", index)
        tag, name = language.get("languageTag"), f"appPackage/{language.get('file')}"
        if tag in tags:
            yield manifest.problem(f"the language {tag} is given twice", *where)
        tags.add(tag)
        files.add(name)
        try:
            document = Document.read(root, name)
        except UnreadableDocumentError as unreadable:
            if (root / name).exists():
                yield unreadable.problem
            else:
                yield manifest.problem(f"{name} is missing", *where, "file")
            continue
        yield from _about_language(document, schema, wanted, environments)
    for file in sorted((root / "appPackage").glob("*.json")):
        name = f"appPackage/{file.name}"
        if name not in files | {manifest.name}:
            yield Problem(name, 1, "no language of the manifest (localizationInfo.additionalLanguages) is in this file")


def _about_language(
    document: Document, schema: dict[str, Any], wanted: dict[str, str], environments: list[EnvironmentFile]
) -> Iterator[Problem]:
    yield from malformed_placeholders(document)
    for environment in environments:
        yield from document.with_strings(environment.fill).against(schema)
    if not isinstance(document.value, dict):
        return
    for key in sorted(wanted.keys() - document.value.keys()):
        yield Problem(document.name, 1, f"{key} is missing; in the manifest it is {wanted[key][:60]!r}")
    for key, text in document.value.items():
        if key == "$schema":
            continue
        if key not in wanted:
            yield document.problem(f"{key} is not a text of the manifest that is translated", key)
        elif sorted(placeholders(str(text))) != sorted(placeholders(wanted[key])):
            yield document.problem(f"{key} must have the variables that the manifest has: {wanted[key][:60]!r}", key)


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{path}[{index}]")


def _is_translated(key: str, text: str, schema: dict[str, Any]) -> bool:
    # A command such as /help is what the agent understands, in every language.
    if text.startswith("/"):
        return False
    return key in schema["properties"] or any(re.search(pattern, key) for pattern in schema["patternProperties"])
