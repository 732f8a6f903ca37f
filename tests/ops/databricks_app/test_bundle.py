"""Variables of the bundle, and what is refused before anything is uploaded."""

from __future__ import annotations

import pytest

from ops.databricks_app import AppError
from ops.databricks_app.bundle import load_bundle
from tests.ops.files.deployments import ROOT


def test_the_command_line_wins_over_the_environment_and_that_over_the_file() -> None:
    environment = {"BUNDLE_VAR_endpoint": "of-the-environment", "BUNDLE_VAR_app_name": "of-the-environment"}
    bundle = load_bundle(ROOT, "dev", {"endpoint": "given"}, environment)
    assert (bundle.setting("DATABRICKS_MODEL_NAME"), bundle.name) == ("given", "of-the-environment")
    assert load_bundle(ROOT, "dev", {"endpoint": "given"}, {}).name == "databricks-agent-dev"


def test_a_list_is_given_as_yaml_or_json() -> None:
    given = {"endpoint": "model", "identity": "person", "user_api_scopes": '["model-serving", "genie"]'}
    assert load_bundle(ROOT, "prod", given, {}).scopes == ["model-serving", "genie"]
    assert load_bundle(ROOT, "prod", given | {"user_api_scopes": "[sql]"}, {}).scopes == ["sql"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, r"The variable endpoint has no value .*Give it as --var endpoint="),
        ({"endpont": "model"}, r"no variable 'endpont': app_name, endpoint"),
        ({"app_name": "My_App"}, "'My_App' is no name of an app"),
        ({"app_name": "a" * 31}, "at most 30"),
        ({"identity": "person"}, "user_api_scopes is empty"),
        ({"identity": "user"}, "must be app, person or auto"),
        ({"max_instances": "3"}, "Lakebase"),
        ({"min_instances": "2"}, "not larger"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(given: dict[str, str], sentence: str) -> None:
    if given and "endpont" not in given:
        given = {"endpoint": "model", **given}
    with pytest.raises(AppError, match=sentence):
        load_bundle(ROOT, "dev", given, {})


def test_an_unknown_target_is_named_with_those_there_are() -> None:
    with pytest.raises(AppError, match="no target 'test': dev, prod"):
        load_bundle(ROOT, "test", {}, {})


def test_several_instances_are_allowed_with_lakebase() -> None:
    lakebase = {"lakebase_branch": "projects/a/branches/b", "lakebase_database": "projects/a/branches/b/databases/c"}
    given = {"endpoint": "model", "max_instances": "3", **lakebase}
    assert load_bundle(ROOT, "prod", given, {}).instances == (1, 3)
