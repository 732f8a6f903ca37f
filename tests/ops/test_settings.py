"""Settings are judged where they are written, before anything starts with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ops.check.settings import check_settings
from tests.fakes.pristine import as_delivered

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "local.settings.sample.json"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / SAMPLE, tmp_path / SAMPLE)
    (tmp_path / "env").mkdir()
    for path in (ROOT / "env").glob(".env.*"):
        if not path.name.endswith(".user"):
            shutil.copy(path, tmp_path / "env" / path.name)
    return as_delivered(tmp_path)


def local(root: Path, **values: Any) -> None:
    (root / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=1))


def found(root: Path) -> list[str]:
    return [str(problem) for problem in check_settings(root)]


def test_the_repositorys_own_settings_have_no_problem() -> None:
    assert [problem for problem in check_settings(ROOT) if problem.file != "local.settings.json"] == []


def test_a_developers_own_file_may_be_missing_or_complete(copy: Path) -> None:
    assert found(copy) == []
    local(
        copy, DATABRICKS_BASE_URL="https://w.example/serving-endpoints", DATABRICKS_MODEL_NAME="m", DATABRICKS_TOKEN="t"
    )
    assert found(copy) == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DATABRICKS_API", "completions", "DATABRICKS_API: not valid; put chat, responses, or auto"),
        ("DATABRICKS_BASE_URL", "adb-1.azuredatabricks.net", "DATABRICKS_BASE_URL: not valid; put the workspace"),
        (
            "OPENAI_TEMPERATURE",
            "warm",
            "OPENAI_TEMPERATURE: not valid; put how freely the model chooses its words, from 0 to 2",
        ),
        ("DATABRICKS_CLIENT_ID", "x", "DATABRICKS_CLIENT_SECRET: missing; a service principal has both"),
        ("DATABRICKS_TOKN", "x", "DATABRICKS_TOKN is no setting; did you mean DATABRICKS_TOKEN?"),
        ("TURN_TIMEOUT_SECONDS", 30, "TURN_TIMEOUT_SECONDS must be a text, in quotation marks"),
    ],
)
def test_a_setting_that_would_not_start_is_named_with_its_line(
    copy: Path, name: str, value: Any, sentence: str
) -> None:
    local(copy, FUNCTIONS_WORKER_RUNTIME="python", **{name: value})
    assert any(
        problem.startswith(f"local.settings.json:5: {sentence}")
        or ("missing" in sentence and problem.startswith(f"local.settings.json:3: {sentence}"))
        for problem in found(copy)
    ), found(copy)


def test_a_secret_is_never_repeated(copy: Path) -> None:
    local(copy, DATABRICKS_TOKEN="dapi-very-secret", DATABRICKS_CLIENT_SECRET="even-more-secret", DATABRICKS_TOKEN_="x")
    assert not [problem for problem in found(copy) if "secret-" in problem or "very-secret" in problem]


def test_the_sample_is_held_to_the_same(copy: Path) -> None:
    text = (copy / SAMPLE).read_text()
    (copy / SAMPLE).write_text(text.replace('"HISTORY_TOKEN_BUDGET": "3000"', '"HISTORY_TOKEN_BUDGET": "much"'))
    line = text[: text.index('"HISTORY_TOKEN_BUDGET"')].count("\n") + 1
    (problem,) = found(copy)
    assert problem.startswith(f"{SAMPLE}:{line}: HISTORY_TOKEN_BUDGET: not valid")


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_a_workspace_address_in_an_environment_is_judged_as_the_app_will(copy: Path, environment: str) -> None:
    source = (copy / "env/.env.dev").read_text()
    (copy / f"env/.env.{environment}").write_text(
        source.replace("DATABRICKS_BASE_URL=", "DATABRICKS_BASE_URL=http://w.example/serving-endpoints")
    )
    line = source[: source.index("DATABRICKS_BASE_URL=")].count("\n") + 1
    (problem,) = found(copy)
    assert problem.startswith(f"env/.env.{environment}:{line}: DATABRICKS_BASE_URL: not valid")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_an_environment_in_another_encoding_is_a_sentence(copy: Path, encoding: str) -> None:
    """PowerShell's > writes UTF-16."""
    path = copy / "env/.env.dev"
    path.write_bytes(path.read_text().encode(encoding))
    (problem,) = found(copy)
    assert problem.startswith("env/.env.dev:1: this file is not UTF-8 text, but perhaps what PowerShell's > writes")


def test_an_empty_environment_has_no_value_that_could_be_wrong(copy: Path) -> None:
    (copy / "env/.env.dev").write_text("")
    assert found(copy) == []


def test_a_byte_order_mark_belongs_to_no_name(copy: Path) -> None:
    (copy / "env/.env.dev").write_text("DATABRICKS_BASE_URL=http://w.example\n", encoding="utf-8-sig")
    (problem,) = found(copy)
    assert problem.startswith("env/.env.dev:1: DATABRICKS_BASE_URL: not valid")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Values": []}', '{"Values": {"a": {}}}'])
def test_a_file_that_is_no_settings_file_is_a_sentence(copy: Path, text: str) -> None:
    (copy / "local.settings.json").write_text(text)
    (problem,) = found(copy)
    assert problem.startswith("local.settings.json:1: ")
