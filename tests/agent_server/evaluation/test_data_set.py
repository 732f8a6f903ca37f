"""Data sets that people write by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_server.evaluation.evaluation import DataSetError, read_data_set
from ops.evaluate import DATA_SET
from ops.evaluate import main as evaluate_command
from ops.log_model import main as log_model_command


def test_a_line_is_a_question_or_a_whole_request(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(
        '\ufeff{"question": "Why?"}\n\n{"inputs": {"input": "Who?"}, "expectations": {"expected_facts": [1]}}\n',
        encoding="utf-8",
    )

    assert read_data_set(file) == [
        {"inputs": {"input": [{"role": "user", "content": "Why?"}]}, "expectations": {}},
        {"inputs": {"input": "Who?"}, "expectations": {"expected_facts": [1]}},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 questions"),
        ("{", "line 1 is no JSON"),
        ("[" * 100_000, "line 1 is no JSON"),
        ('{"question": "Why?"}\n[]', "line 2 is no JSON object"),
        ('{"question": " "}', "line 1 needs"),
        ('{"inputs": {"messages": []}}', "line 1 needs"),
        ('{"question": "Why?", "expectations": []}', '"expectations" is a JSON object'),
        ('{"question": "Why?", "expectations": {"expected_facts": "42"}}', '"expected_facts" is a list'),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(text)

    with pytest.raises(DataSetError, match=said):
        read_data_set(file)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"none\.jsonl cannot be read"):
        read_data_set(tmp_path / "none.jsonl")


def test_the_data_set_that_comes_with_the_project_is_valid() -> None:
    assert len(read_data_set(DATA_SET)) >= 5


def test_commands_that_cannot_begin_say_why_before_mlflow_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_SERVER_MODULE", "of_nobody.agent")

    assert evaluate_command(["--data", "none.jsonl"]) == 2
    assert log_model_command([]) == 1

    told = capsys.readouterr().err
    assert "none.jsonl cannot be read" in told
    assert "There is no module of_nobody in this folder" in told

    for name in ("AGENT_SERVER_MODULE", "DATABRICKS_BASE_URL", "DATABRICKS_MODEL_NAME", "DATABRICKS_HOST"):
        monkeypatch.delenv(name, raising=False)
    for command in ("ops.evaluate", "ops.log_model"):
        monkeypatch.setattr(f"{command}.ROOT", tmp_path)  # without the settings of whoever runs this test
    assert evaluate_command([]) == 2
    assert log_model_command([]) == 1
    assert capsys.readouterr().err.count("DATABRICKS_BASE_URL: missing") == 2
    assert "mlflow" not in {path.stem for path in tmp_path.rglob("*")}, "a store was made"
