"""agent_server/databricks.yml and app.yaml: what the Databricks CLI and `dev.py deploy-app` read."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from typing import Any

import pytest
from databricks.sdk.service import apps
from ruamel.yaml import YAML

from agent_server.cli import MODULE_VARIABLE
from agent_server.settings import load_databricks_agent_settings, load_server_settings
from app.settings.job_watch_settings import JobWatchSettings
from app.settings.section import Section
from ops.databricks_app.bundle import BUNDLE_FILE, AppBundle, load_bundle
from ops.databricks_app.folder import app_yaml
from tests.ops.files.deployments import ROOT

TEXT = (ROOT / BUNDLE_FILE).read_text(encoding="utf-8")
BUNDLE: dict[str, Any] = YAML(typ="safe").load(TEXT)
(APP,) = BUNDLE["resources"]["apps"].values()
EVERYTHING = {
    "endpoint": "model",
    "group": "analysts",
    "genie_space": "01ef",
    "warehouse": "abc",
    "experiment": "12",
    "job": "34",
    "lakebase_branch": "projects/agent/branches/production",
    "lakebase_database": "projects/agent/branches/production/databases/agent",
    "secret_scope": "scope",
    "secret_key": "key",
    "module": "agent_server.agent",
    "watch_every": "5m",
    "job_watch_mode": "approve",
    "job_approvers": "123,456",
    "job_viewers": "*",
    "mcp_servers": json.dumps([{"name": "crm", "url": "https://workspace.example.com/api/2.0/mcp/external/crm"}]),
    "connection": "crm",
    "function": "main.default.price",
    "volume": "main.default.files",
}


def bundle(**given: str) -> AppBundle:
    return load_bundle(ROOT, "dev", given, {})


def test_every_variable_is_declared_and_used() -> None:
    used = set(re.findall(r"\$\{var\.(\w+)\}", TEXT))
    assert used == set(BUNDLE["variables"])
    assert all(variable["description"] for variable in BUNDLE["variables"].values())


def test_it_has_a_target_for_development_and_one_for_production() -> None:
    assert {name: target["mode"] for name, target in BUNDLE["targets"].items()} == {
        "dev": "development",
        "prod": "production",
    }
    names = {target: load_bundle(ROOT, target, {"endpoint": "model"}, {}).name for target in BUNDLE["targets"]}
    assert len(set(names.values())) == 2, "they must not be the same app"


def test_the_apis_own_types_know_every_field_and_permission() -> None:
    """The SDK's types drop what they do not know, and turn an unknown permission into None."""
    for resource in bundle(**EVERYTHING).resources:
        resource = json.loads(json.dumps(resource))
        assert apps.AppResource.from_dict(resource).as_dict() == resource
    fields = {field.name for field in dataclasses.fields(apps.App)}
    of_the_bundle = {"config", "permissions", "resources"}
    assert set(APP) - of_the_bundle <= fields


def test_every_kind_of_resource_that_the_agent_can_use_is_there() -> None:
    kinds = {kind for each in bundle(**EVERYTHING).resources for kind in each if kind != "name"}
    assert kinds == {
        *("serving_endpoint", "genie_space", "sql_warehouse", "experiment", "job", "postgres", "secret"),
        "uc_securable",
    }
    securables = {each["uc_securable"]["securable_type"] for each in APP["resources"] if "uc_securable" in each}
    assert securables == {"CONNECTION", "FUNCTION", "VOLUME"}


def test_a_group_may_use_the_app() -> None:
    assert bundle(**EVERYTHING).permissions == [{"group_name": "analysts", "level": "CAN_USE"}]


def settings_names(section: type[Section]) -> set[str]:
    return {str(field.validation_alias) for field in section.model_fields.values()}


def test_every_setting_is_one_that_the_server_knows() -> None:
    sections: list[type[Section]] = [*Section.__subclasses__(), JobWatchSettings]
    known = {name for section in sections for name in settings_names(section)} | {MODULE_VARIABLE}
    assert {each["name"] for each in APP["config"]["env"]} <= known


def test_the_server_accepts_the_settings_of_the_bundle() -> None:
    app = bundle(**EVERYTHING)
    environment = {each.name: app.setting(each.name) for each in app.settings}
    environment |= {"DATABRICKS_APP_NAME": app.name, "DATABRICKS_HOST": "workspace.example.com"}
    load_server_settings(environment)
    settings = load_databricks_agent_settings(environment)
    assert settings.databricks.model_name == "model"
    assert settings.databricks.base_url == "https://workspace.example.com/serving-endpoints"


def test_the_commands_script_is_one_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert bundle(endpoint="model").command == ["uv", "run", "--frozen", "agent-server"]
    assert project["scripts"]["agent-server"] == "agent_server.cli:command"


def test_app_yaml_is_that_of_an_app_with_a_model_alone() -> None:
    written = YAML(typ="safe").load((ROOT / "agent_server/app.yaml").read_text(encoding="utf-8"))
    assert written == YAML(typ="safe").load(app_yaml(bundle(endpoint="model")))


@pytest.mark.parametrize("name", sorted(set(EVERYTHING) - {"endpoint", "mcp_servers"}))
def test_whatever_is_left_out_leaves_no_setting_behind(name: str) -> None:
    given = {each: value for each, value in EVERYTHING.items() if each != name}
    app = bundle(**given)
    resources = {each["name"] for each in app.resources}
    assert {each.value_from for each in app.settings if each.value_from} <= resources
    assert "" not in [
        value for each in app.resources for kind in each.values() if isinstance(kind, dict) for value in kind.values()
    ]
