"""local.settings.json is read as Azure Functions Core Tools reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.local.local_settings import (
    LocalSettingsError,
    add_local_settings,
    read_local_settings,
    workspace_is_configured,
)


def write(folder: Path, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "local.settings.json").write_text(text, encoding="utf-8-sig")


def test_values_fill_in_what_the_environment_lacks(tmp_path: Path) -> None:
    write(tmp_path, {"IsEncrypted": False, "Values": {"A": "file", "B": "file", "N": 3, "T": True, "NULL": None}})
    environment = {"A": "environment"}
    add_local_settings(environment, tmp_path)
    assert environment == {"A": "environment", "B": "file", "N": "3", "T": "true"}


def test_without_the_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"Values": {', "not valid JSON"),
        ([], "must look like"),
        ({"Values": []}, "must look like"),
        ({"Values": {"SECRET": {"a": "hidden"}}}, "must be strings: SECRET$"),
        ({"IsEncrypted": True, "Values": {}}, "func settings decrypt"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_to_change(
    tmp_path: Path, content: object, sentence: str
) -> None:
    write(tmp_path, content)
    with pytest.raises(LocalSettingsError, match=sentence) as refused:
        read_local_settings(tmp_path)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "configured"),
    [
        ({}, False),
        ({"DATABRICKS_BASE_URL": "", "DATABRICKS_MODEL_NAME": ""}, False),
        ({"DATABRICKS_TOKEN": "a credential alone names no workspace"}, False),
        ({"DATABRICKS_BASE_URL": "https://x"}, True),
        ({"DATABRICKS_MODEL_NAME": "x"}, True),
    ],
)
def test_one_of_the_two_settings_means_a_real_workspace(environment: dict[str, str], configured: bool) -> None:
    assert workspace_is_configured(environment) is configured
