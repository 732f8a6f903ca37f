"""YAML and JSON files whose every value knows its line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema.exceptions import ValidationError
from jsonschema.validators import create, validator_for
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from ops.check.problem import Problem

Key = str | int


class Document:
    """`name` is the file's path below the repository. JSON is read as the YAML 1.2 that it is."""

    def __init__(self, name: str, value: Any, text: str) -> None:  # noqa: ANN401
        self.name = name
        self.value = value
        self.text = text

    @classmethod
    def read(cls, root: Path, name: str) -> Document:
        """Raises `UnreadableDocumentError`."""
        try:
            text = (root / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UnreadableDocumentError(Problem(name, 1, "this file is missing")) from None
        except UnicodeDecodeError:
            raise UnreadableDocumentError(Problem(name, 1, "this file is not UTF-8 text")) from None
        try:
            value = json.loads(text) if name.endswith(".json") else YAML(typ="safe", pure=True).load(text)
        except json.JSONDecodeError as error:
            raise UnreadableDocumentError(Problem(name, error.lineno, f"not valid JSON: {error.msg}")) from None
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise UnreadableDocumentError(
                Problem(name, line, "a control character, so this is not UTF-8 text")
            ) from None
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise UnreadableDocumentError(Problem(name, line, f"not valid YAML: {error.problem}")) from None
        return cls(name, value, text)

    @cached_property
    def _lines(self) -> Mapping[tuple[Key, ...], int]:
        # Slow, and needed only by what has something to say.
        try:
            return dict(_lines(YAML(typ="safe", pure=True).compose(self.text), ()))
        except YAMLError:
            return {}

    def line(self, *keys: Key) -> int:
        """Of the value at `keys`, or of the nearest thing around it that exists."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 1)

    def problem(self, sentence: str, *keys: Key) -> Problem:
        return Problem(self.name, self.line(*keys), sentence)

    def with_strings(self, change: Callable[[str], str]) -> Document:
        """The same file with every string value changed, as a tool does that fills in variables."""
        return Document(self.name, _changed(self.value, change), self.text)

    def against(self, schema: Mapping[str, Any]) -> list[Problem]:
        """What the JSON schema objects to."""
        draft = validator_for(schema)
        # As the toolkit's ajv does, and unlike the old drafts: what stands beside a $ref counts too.
        validator = create(draft.META_SCHEMA, draft.VALIDATORS, type_checker=draft.TYPE_CHECKER)
        errors = validator(schema).iter_errors(self.value)
        return [self.problem(_sentence(path, what), *path) for path, what in map(_cause, errors)]


class UnreadableDocumentError(Exception):
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


def _changed(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _changed(item, change) for key, item in value.items()}
    return value


def _cause(error: ValidationError) -> tuple[tuple[Key, ...], str]:
    """Where the deepest cause is, and what it is; of a failed `anyOf`, in the alternative most likely meant."""
    alternatives = _alternatives(error)
    if not alternatives:
        return tuple(error.absolute_path), error.message
    if unknown := _unknown_name(error):
        return unknown
    return _cause(min(alternatives, key=lambda causes: (sum(map(_fixed, causes)), len(causes)))[0])


def _alternatives(error: ValidationError) -> list[list[ValidationError]]:
    alternatives: dict[Key, list[ValidationError]] = {}
    for cause in error.context or ():
        alternatives.setdefault(cause.relative_schema_path[0], []).append(cause)
    return list(alternatives.values())


def _fixed(cause: ValidationError) -> int:
    """How many fixed values, such as the name of an action, differ: an alternative with one was not meant at all."""
    if alternatives := _alternatives(cause):
        return min(sum(map(_fixed, causes)) for causes in alternatives)
    return int(cause.validator == "const")


def _unknown_name(error: ValidationError) -> tuple[tuple[Key, ...], str] | None:
    """If no alternative has the name that the value goes by: where that is, and what it should have been."""
    known: dict[tuple[Key, ...], list[str]] = {}
    alternatives = [list(_constants(causes)) for causes in _alternatives(error)]
    for constants in alternatives:
        for constant in constants:
            known.setdefault(tuple(constant.absolute_path), []).append(str(constant.validator_value))
    path, names = max(known.items(), key=lambda item: len(item[1]), default=((), []))
    if not names or not all(any(tuple(c.absolute_path) == path for c in constants) for constants in alternatives):
        return None
    wrong = next(str(c.instance) for constants in alternatives for c in constants if tuple(c.absolute_path) == path)
    close = get_close_matches(wrong, names, n=1)
    return path, f"{wrong!r} is not known" + (f"; did you mean {close[0]!r}?" if close else "")


def _constants(causes: Iterable[ValidationError]) -> Iterator[ValidationError]:
    for cause in causes:
        if cause.validator == "const":
            yield cause
        yield from _constants(cause.context or ())


def _sentence(path: tuple[Key, ...], what: str) -> str:
    return f"{'.'.join(map(str, path)) or 'the file'}: {what[:300]}"
