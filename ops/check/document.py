"""YAML and JSON files whose every value knows its line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema.exceptions import ValidationError
from jsonschema.validators import validator_for
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from ops.check.problem import Problem

Key = str | int


class Document:
    """`name` is the file's path below the repository. JSON is read as the YAML 1.2 that it is."""

    def __init__(self, name: str, value: Any, lines: Mapping[tuple[Key, ...], int], text: str) -> None:  # noqa: ANN401
        self.name = name
        self.value = value
        self.text = text
        self._lines = lines

    @classmethod
    def read(cls, root: Path, name: str) -> Document:
        """Raises `Unreadable`."""
        try:
            text = (root / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise Unreadable(Problem(name, 1, "this file is missing")) from None
        except UnicodeDecodeError:
            raise Unreadable(Problem(name, 1, "this file is not UTF-8 text")) from None
        try:
            value = json.loads(text) if name.endswith(".json") else YAML(typ="safe", pure=True).load(text)
            lines = dict(_lines(YAML(typ="safe", pure=True).compose(text), ()))
        except json.JSONDecodeError as error:
            raise Unreadable(Problem(name, error.lineno, f"not valid JSON: {error.msg}")) from None
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise Unreadable(Problem(name, line, f"not valid YAML: {error.problem}")) from None
        return cls(name, value, lines, text)

    def line(self, *keys: Key) -> int:
        """Of the value at `keys`, or of the nearest thing around it that exists."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 1)

    def problem(self, sentence: str, *keys: Key) -> Problem:
        return Problem(self.name, self.line(*keys), sentence)

    def against(self, schema: Mapping[str, Any]) -> list[Problem]:
        """What the JSON schema objects to."""
        return [
            self.problem(_sentence(error), *_innermost(error).absolute_path)
            for error in validator_for(schema)(schema).iter_errors(self.value)
        ]


class Unreadable(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _lines(node: Node | None, path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], int]]:
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            yield from _lines(value, inner)
            # The line of a key says more than the line where its block begins.
            yield inner, key.start_mark.line + 1
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _innermost(error: ValidationError) -> ValidationError:
    """The deepest cause of a failed `anyOf` or `oneOf`, of the alternative that was most likely meant."""
    alternatives: dict[Key, list[ValidationError]] = {}
    for cause in error.context or ():
        alternatives.setdefault(cause.relative_schema_path[0], []).append(cause)
    if not alternatives:
        return error
    return _innermost(min(alternatives.values(), key=_distance)[0])


def _distance(causes: list[ValidationError]) -> tuple[int, int]:
    # An alternative whose fixed values differ, such as the name of an action, was not meant at all.
    return sum(cause.validator in {"const", "enum"} for cause in causes), len(causes)


def _sentence(error: ValidationError) -> str:
    innermost = _innermost(error)
    where = ".".join(str(part) for part in innermost.absolute_path) or "the file"
    return f"{where}: {innermost.message[:300]}"
