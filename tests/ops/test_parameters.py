"""What Azure is given: infra/azure.parameters.json, filled from env/.env.* as the toolkit fills it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ops.parameters import ParametersError, env_file, fill, read_outputs, read_variables, with_outputs
from ops.provision import main

ROOT = Path(__file__).resolve().parents[2]


def variables_of(folder: Path, text: str, secrets: str = "", **given: str) -> dict[str, str]:
    (folder / "env").mkdir()
    (folder / "env/.env.dev").write_text(text, encoding="utf-8")
    if secrets:
        (folder / "env/.env.dev.user").write_text(secrets, encoding="utf-8")
    return read_variables(folder, "dev", given)


def test_the_pipelines_variables_win_over_the_files_and_empty_ones_do_not(tmp_path: Path) -> None:
    text = "RESOURCE_SUFFIX=file\nHOSTING_PLAN=flex\n"
    assert variables_of(tmp_path, text, RESOURCE_SUFFIX="pipeline", HOSTING_PLAN="") == {
        "RESOURCE_SUFFIX": "pipeline",
        "HOSTING_PLAN": "flex",
    }


def test_secrets_come_from_the_file_that_git_ignores(tmp_path: Path) -> None:
    assert variables_of(tmp_path, "SECRET_A=\n", "SECRET_A=secret\n") == {"SECRET_A": "secret"}


def test_comments_quotes_and_spaces_are_read_as_the_toolkit_reads_them(tmp_path: Path) -> None:
    text = "# A=1\nB = two # words\nC='a # b'\nD=\"x y\" # said\nexport E=5\nF=a=b\nG=\nnot a line\n"
    assert variables_of(tmp_path, text) == {"B": "two", "C": "a # b", "D": "x y", "E": "5", "F": "a=b", "G": ""}


@pytest.mark.parametrize("env", ["../dev", "dev/..", "", "dev.user"])
def test_an_environment_is_a_name_and_no_path(env: str) -> None:
    with pytest.raises(ParametersError, match="is not the name of an environment"):
        env_file(ROOT, env)


def test_an_unknown_environment_is_told_by_the_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match=r"^env/\.env\.prod is missing$"):
        read_variables(tmp_path, "prod", {})


def test_a_value_stays_a_value_whatever_is_in_it() -> None:
    value = 'a"b\\c\n${{OTHER}}'
    filled = json.loads(fill('{"p": {"value": "${{ NAME }}"}}', {"NAME": value, "OTHER": "x"}))
    assert filled == {"p": {"value": value}}


def test_every_missing_value_is_told_with_its_line() -> None:
    with pytest.raises(ParametersError) as raised:
        fill('{\n  "a": "${{ONE}}",\n  "b": "${{TWO}}"\n}', {"ONE": ""})
    assert str(raised.value).splitlines() == [
        "infra/azure.parameters.json:2: ONE has no value",
        "infra/azure.parameters.json:3: TWO has no value",
    ]


def test_a_secret_that_the_toolkit_scrambled_is_not_sent_as_it_is() -> None:
    with pytest.raises(ParametersError, match="1: SECRET_A was scrambled by the toolkit: set it as an environment"):
        fill('{"a": "${{SECRET_A}}"}', {"SECRET_A": "crypto_0123"})


def test_the_repositorys_parameters_are_filled_from_its_environment_file() -> None:
    text = (ROOT / "infra/azure.parameters.json").read_text(encoding="utf-8")
    placeholders = set(re.findall(r"\$\{\{(\w+)\}\}", text))
    assert placeholders <= set(read_variables(ROOT, "dev", {}))
    assert "${{" not in fill(text, dict.fromkeys(placeholders, "value"))


def test_outputs_have_the_names_they_were_given_in_bicep() -> None:
    assert read_outputs({"boT_ID": {"type": "String", "value": "x"}}) == {"BOT_ID": "x"}


@pytest.mark.parametrize(
    "answer", [None, {}, [], {"A": "x"}, {"A": {"value": 1}}, {"A": {"value": "x\nB=y"}}, {"A=B": {"value": "x"}}]
)
def test_outputs_that_would_write_something_else_are_refused(answer: object) -> None:
    with pytest.raises(ParametersError):
        read_outputs(answer)


def test_outputs_take_their_own_lines_and_leave_the_others() -> None:
    text = "# Written by provision.\nBOT_ID=\nPYTHON_VERSION=3.12\n"
    assert with_outputs(text, {"BOT_ID": "x", "NEW": "y"}) == (
        "# Written by provision.\nBOT_ID=x\nPYTHON_VERSION=3.12\nNEW=y\n"
    )


def test_the_pipeline_and_the_toolkit_deploy_under_one_name() -> None:
    toolkit = (ROOT / "m365agents.yml").read_text(encoding="utf-8")
    provision = (ROOT / "ops/provision.py").read_text(encoding="utf-8")
    assert "deploymentName: databricks-agent-${{RESOURCE_SUFFIX}}\n" in toolkit
    assert "f\"databricks-agent-{variables['RESOURCE_SUFFIX']}\"" in provision
    assert "path: ./infra/azure.bicep\n" in toolkit
    assert "parameters: ./infra/azure.parameters.json\n" in toolkit


def test_provision_without_the_azure_cli_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    variables_of(tmp_path, "AZURE_SUBSCRIPTION_ID=x\nAZURE_RESOURCE_GROUP_NAME=g\nRESOURCE_SUFFIX=dev\n")
    assert main(["--env", "dev"], tmp_path) == 1
    assert "The Azure CLI (az) is not installed" in capsys.readouterr().err


def test_provision_without_a_place_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variables_of(tmp_path, "AZURE_SUBSCRIPTION_ID=x\n")
    assert main([], tmp_path) == 1
    assert "AZURE_RESOURCE_GROUP_NAME, RESOURCE_SUFFIX: no value in env/.env.dev" in capsys.readouterr().err
