"""The toolkit's own command line reads these files: it packages, validates and runs `deploy`, without a cloud."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.agents_toolkit import ROOT, AgentsToolkit
from tests.fakes.pristine import as_delivered

# What provision would have written.
PROVISIONED = {
    "TEAMS_APP_ID": "11111111-1111-4111-8111-111111111111",
    "BOT_ID": "22222222-2222-4222-8222-222222222222",
    "BOT_TENANT_ID": "33333333-3333-4333-8333-333333333333",
    "BOT_DOMAIN": "agent.example.net",
}
OWN = {
    "DEVELOPER_NAME": "Contoso Data",
    "DEVELOPER_WEBSITE_URL": "https://data.contoso.com",
    "DEVELOPER_PRIVACY_URL": "https://data.contoso.com/privacy",
    "DEVELOPER_TERMS_OF_USE_URL": "https://data.contoso.com/terms",
}
# In the place of dev.py, for what the steps call and what they hand over.
STAND_IN = """\
import os, sys
print("dev.py", *sys.argv[1:], os.environ["TEAMSFX_ENV"], os.environ.get("HOSTING_PLAN"), sys.version_info >= (3, 11))
"""

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install the Agents Toolkit with"),
]


@pytest.fixture(scope="module")
def atk() -> AgentsToolkit:
    return AgentsToolkit.installed()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("appPackage", "env"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("build", "*.user"))
    (folder / "ops").mkdir()
    for name in ("__init__.py", "python.cjs", "placeholders.py", "parameters.py"):
        shutil.copy(ROOT / "ops" / name, folder / "ops")
    for file in ROOT.glob("m365agents*.yml"):
        shutil.copy(file, folder)
    (folder / "dev.py").write_text(STAND_IN)
    return as_delivered(folder)


def change(project: Path, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = project / "appPackage" / name
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def validate(atk: AgentsToolkit, project: Path, environment: str = "dev") -> tuple[int, str]:
    manifest = ("--manifest-file", "appPackage/manifest.json")
    return atk.run(project, "validate", "--env", environment, *manifest, given=PROVISIONED)


def test_the_toolkit_makes_a_package_with_everything_filled_in(atk: AgentsToolkit, project: Path) -> None:
    code, said = atk.run(project, "package", "--env", "local", given=PROVISIONED)
    assert code == 0, said
    with zipfile.ZipFile(project / "appPackage/build/appPackage.local.zip") as package:
        files = {name: package.read(name) for name in package.namelist()}
    icons = {"color.png", "outline.png", "color32x32.png"}
    assert files.keys() == icons | {"manifest.json", "de.json", "es.json", "fr.json", "ja.json"}
    assert all(files[name] == (ROOT / "appPackage" / name).read_bytes() for name in icons)
    assert not any(b"${{" in content for content in files.values())
    manifest = json.loads(files["manifest.json"])
    assert manifest["id"] == PROVISIONED["TEAMS_APP_ID"]
    assert (
        manifest["copilotAgents"]["customEngineAgents"][0]["id"]
        == manifest["bots"][0]["botId"]
        == PROVISIONED["BOT_ID"]
    )
    assert manifest["validDomains"][0] == PROVISIONED["BOT_DOMAIN"]
    assert manifest["name"]["short"] == "Databricks Agent (local)"
    assert json.loads(files["ja.json"])["name.short"] == "Databricks エージェント (local)"


@pytest.mark.parametrize("environment", [pytest.param("dev", marks=pytest.mark.proof), "local"])
def test_the_toolkit_finds_the_manifest_valid(atk: AgentsToolkit, project: Path, environment: str) -> None:
    code, said = validate(atk, project, environment)
    assert code == 0, said
    assert "All passed." in said


@pytest.mark.proof
def test_the_toolkit_refuses_a_manifest_that_is_wrong(atk: AgentsToolkit, project: Path) -> None:
    change(project, "manifest.json", lambda manifest: manifest["description"].update(short="x" * 81))
    code, said = validate(atk, project)
    assert code != 0
    assert "must NOT have more than 80 characters" in said


@pytest.mark.proof
def test_the_toolkit_refuses_a_translation_that_is_wrong(atk: AgentsToolkit, project: Path) -> None:
    change(project, "de.json", lambda german: german.update({"bots[0].commands[0].title": "Hilfe"}))
    code, said = validate(atk, project)
    assert code != 0
    assert "de.json" in said
    assert "must NOT have additional properties" in said


@pytest.mark.proof
def test_the_toolkit_refuses_a_variable_without_a_value(atk: AgentsToolkit, project: Path) -> None:
    code, said = atk.run(project, "package", "--env", "dev", given={"TEAMS_APP_ID": PROVISIONED["TEAMS_APP_ID"]})
    assert code != 0
    assert "Missing environment variables 'BOT_ID, BOT_DOMAIN'" in said


@pytest.mark.proof
def test_the_toolkit_refuses_an_action_that_does_not_exist(atk: AgentsToolkit, project: Path) -> None:
    path = project / "m365agents.playground.yml"
    path.write_text(path.read_text(encoding="utf-8").replace("uses: script", "uses: skript"), encoding="utf-8")
    code, said = atk.run(project, "deploy", "--env", "playground")
    assert code != 0
    assert "m365agents.playground.yml" in said


def test_deploy_builds_the_package_for_the_python_of_the_environment_and_then_deploys_it(
    atk: AgentsToolkit, project: Path
) -> None:
    code, said = atk.run(project, "deploy", "--env", "dev", given=PROVISIONED | OWN)
    assert code == 0, said
    lines = [line for line in said.splitlines() if line.startswith("dev.py")]
    assert lines == ["dev.py package --python 3.12 dev consumption True", "dev.py deploy dev consumption True"]


@pytest.mark.proof
def test_nothing_is_deployed_while_the_app_says_your_organisation(atk: AgentsToolkit, project: Path) -> None:
    code, said = atk.run(project, "deploy", "--env", "dev", given=PROVISIONED)
    assert code != 0
    assert "DEVELOPER_NAME is 'Your organisation'" in said
    assert "dev.py package" not in said


@pytest.mark.proof
def test_a_deployment_that_fails_is_a_failure_of_the_toolkit(atk: AgentsToolkit, project: Path) -> None:
    (project / "dev.py").write_text("import sys; sys.exit('the package is too large')")
    code, said = atk.run(project, "deploy", "--env", "dev", given=PROVISIONED | OWN)
    assert code != 0
    assert "the package is too large" in said


@pytest.mark.proof
def test_local_settings_get_the_bots_identity_and_lose_it_again_for_the_playground(
    atk: AgentsToolkit, project: Path
) -> None:
    own = {"DATABRICKS_BASE_URL": "https://workspace.example/serving-endpoints", "MicrosoftAppId": "an older one"}
    settings = project / "local.settings.json"
    settings.write_text(json.dumps({"IsEncrypted": False, "Values": own}))

    code, said = atk.run(project, "deploy", "--env", "local", given={**PROVISIONED, "SECRET_BOT_PASSWORD": "a secret"})
    assert code == 0, said
    assert json.loads(settings.read_text())["Values"] == {
        "DATABRICKS_BASE_URL": own["DATABRICKS_BASE_URL"],
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "MicrosoftAppId": PROVISIONED["BOT_ID"],
        "MicrosoftAppType": "SingleTenant",
        "MicrosoftAppTenantId": PROVISIONED["BOT_TENANT_ID"],
        "MicrosoftAppPassword": "a secret",
    }
    assert "a secret" not in said

    code, said = atk.run(project, "deploy", "--env", "playground")
    assert code == 0, said
    values = json.loads(settings.read_text())["Values"]
    assert {name: value for name, value in values.items() if value} == {
        "DATABRICKS_BASE_URL": own["DATABRICKS_BASE_URL"],
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "MicrosoftAppType": "UserAssignedMSI",
    }
    assert settings.read_text().count("IsEncrypted") == 1
    assert "dev.py run --help playground None True" in said
