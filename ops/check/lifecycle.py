"""The steps of an `m365agents*.yml` file, and what each of them reads and writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.check.document import Document, Key
from ops.check.environment import Used, placeholders, used_in_lines

LIFECYCLES = ("provision", "deploy", "publish", "share")
# What actions write without being told to: driver/teamsApp/create.js and configure.js in @microsoft/teamsfx-core.
_UNASKED = {
    "teamsApp/create": ("TEAMS_APP_TENANT_ID",),
    "teamsApp/update": ("TEAMS_APP_TENANT_ID", "TEAMS_APP_UPDATE_TIME"),
}
_OUTPUT = re.compile(r"^output\s+(\w+)\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """`where` are the keys that lead to it in its file."""

    action: str
    where: tuple[Key, ...]
    value: Mapping[str, Any]

    @property
    def inputs(self) -> Mapping[str, Any]:
        return _mapping(self.value.get("with"))

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What it writes to the environment file, and under which names."""
        return _mapping(self.value.get("writeToEnvironmentFile"))

    def strings(self) -> Iterator[tuple[tuple[Key, ...], str]]:
        """Every text below `with` and `env`, and the keys that lead to it from the step."""
        for part in ("with", "env"):
            yield from _strings(self.value.get(part), (part,))

    def written(self, root: Path) -> set[str]:
        """The variables that it writes to the environment file."""
        names = set(_UNASKED.get(self.action, ())) | {str(name) for name in self.outputs.values()}
        for template in self._templates():
            names |= {name.upper() for name in _OUTPUT.findall(_text(root / str(template.get("path"))))}
        return names

    def used(self, root: Path, document: Document) -> Iterator[Used]:
        """The placeholders in the step itself and in the files that the toolkit fills for it."""
        for keys, text in self.strings():
            for variable in placeholders(text):
                yield Used(variable, document.name, document.line(*self.where, *keys))
        for path in self.filled_files(root):
            yield from used_in_lines(path, _text(root / path))

    def filled_files(self, root: Path) -> Iterator[str]:
        if manifest := self.inputs.get("manifestPath"):
            folder = (root / str(manifest)).parent
            yield from sorted(file.relative_to(root).as_posix() for file in folder.glob("*.json"))
        for template in self._templates():
            if parameters := template.get("parameters"):
                yield Path(str(parameters)).as_posix()

    def _templates(self) -> list[Mapping[str, Any]]:
        templates = self.inputs.get("templates")
        return [_mapping(template) for template in templates] if isinstance(templates, list) else []


def steps(document: Document) -> dict[str, list[Step]]:
    """By lifecycle. What is not a step is left to the schema."""
    found: dict[str, list[Step]] = {}
    for lifecycle in LIFECYCLES:
        listed = document.value.get(lifecycle)
        found[lifecycle] = [
            Step(str(step.get("uses")), (lifecycle, index), step)
            for index, step in enumerate(listed if isinstance(listed, list) else [])
            if isinstance(step, dict)
        ]
    return found


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    return value if isinstance(value, dict) else {}


def _strings(value: Any, keys: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], str]]:  # noqa: ANN401
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, (*keys, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, (*keys, index))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
