"""The values of settings, wherever a person writes them, as the application itself will judge them at its start."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.config import SettingsError, load_settings, setting_names
from ops.check.document import Document, UnreadableDocumentError
from ops.check.environment import EnvironmentFile
from ops.check.problem import Problem

_SAMPLE = "local.settings.sample.json"
_LOCAL = "local.settings.json"
# What makes the rest of a file complete enough to be judged.
_VALID = {"DATABRICKS_BASE_URL": "https://workspace.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "model"}


def check_settings(root: Path) -> list[Problem]:
    problems: list[Problem] = []
    for name in (_SAMPLE, _LOCAL):
        if name == _SAMPLE or (root / name).is_file():
            problems += _local_settings(root, name)
    for path in sorted((root / "env").glob(".env.*")):
        if path.name.count(".") == 2 or path.suffix == ".user":
            problems += _environment(root, f"env/{path.name}")
    return problems


def _local_settings(root: Path, name: str) -> list[Problem]:
    try:
        document = Document.read(root, name)
    except UnreadableDocumentError as unreadable:
        return [unreadable.problem]
    values = document.value.get("Values") if isinstance(document.value, dict) else None
    if not isinstance(values, dict):
        return [document.problem("Values must be an object of settings")]
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    problems = [
        document.problem(f"{key} must be a text, in quotation marks", "Values", key)
        for key in values.keys() - texts.keys()
    ]
    problems += [document.problem(sentence, "Values", key) for key, sentence in _misspelt(texts)]
    # The sample is there to be filled in; a developer's own file may leave all to the stand-in workspace.
    return problems + [document.problem(sentence, "Values", key) for key, sentence in _faults(texts)]


def _environment(root: Path, name: str) -> Iterator[Problem]:
    try:
        file = EnvironmentFile.read(root, name)
    except UnreadableDocumentError as unreadable:
        yield unreadable.problem
        return
    for name, sentence in _faults({name: file.value(name) for name in _VALID}):
        yield file.problem(sentence, name)


def _faults(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    given = {name: value for name, value in values.items() if value.strip()}
    try:
        load_settings(_VALID | given)
    except SettingsError as error:
        for problem in error.problems:
            yield problem.partition(":")[0], problem


def _misspelt(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = setting_names()
    for name in values:
        meant = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if name not in known and meant:
            yield name, f"{name} is no setting; did you mean {meant[0]}?"
