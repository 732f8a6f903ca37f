"""`python dev.py deploy`: to both hosting plans, back to an earlier build, and what it says when that does not work."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest

import dev
from ops.deploy import DeployError, UnhealthyError
from ops.deploy.__main__ import Waiting, main
from ops.deploy.azure_cli import AzureCli
from ops.deploy.health import wait_for_health
from ops.deploy.scm import ScmSite, token_audience
from ops.package.archive import read_build
from ops.virtual_environment import VirtualEnvironment
from tests.fakes.azure import TOKEN, FakeAzure, serving
from tests.fakes.provisioned import SUBSCRIPTION, Clock, make_package, option, provision
from tests.fakes.provisioned import azure as azure
from tests.fakes.provisioned import flex as flex
from tests.fakes.provisioned import root as root

ROOT = Path(__file__).resolve().parents[2]
SITE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-agent/providers/Microsoft.Web/sites/func-agent"


def test_on_consumption_the_package_is_kept_put_in_place_restarted_and_its_health_awaited(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    build = make_package(root, "new")
    assert main([], root) == 0
    assert azure.blobs == [f"agent-{build}.zip", "agent.zip"]
    kept, current, restart, sync = azure.calls[1:]
    where = ["--account-name", "stagent", "--container-name", "packages", "--auth-mode", "login"]
    assert kept[:9] == ["storage", "blob", "upload", *where]
    assert option(kept, "--name") == f"agent-{build}.zip"
    assert option(current, "--name") == "agent.zip"
    assert option(current, "--overwrite") == "true"
    assert restart[:6] == ["functionapp", "restart", "--name", "func-agent", "--resource-group", "rg-agent"]
    assert sync[:5] == ["rest", "--method", "post", "--url", f"{SITE}/syncfunctiontriggers?api-version=2024-04-01"]
    assert all(option(call, "--subscription") == SUBSCRIPTION for call in azure.calls)
    assert capsys.readouterr().out.splitlines()[-1] == f"Build {build} answers and is healthy."


def test_no_argument_holds_what_cmd_would_take_for_its_own(root: Path, azure: FakeAzure) -> None:
    make_package(root, "new")
    assert main([], root) == 0
    assert not [argument for call in azure.calls for argument in call if re.search(r"[\"&|<>^%!]", argument)]
    with pytest.raises(DeployError, match="cannot be handed to the Azure CLI"):
        AzureCli(SUBSCRIPTION).run("rest", "--url", "/a?b=c&calc")


def test_on_flex_the_package_is_published_as_it_is_without_a_build_in_azure(root: Path, flex: FakeAzure) -> None:
    build = make_package(root, "new")
    assert main([], root) == 0
    assert flex.blobs == [f"agent-{build}.zip", "released-package.zip"], "one for the way back, and the one of Flex"
    ((path, headers),) = flex.published
    assert path == "/api/publish?RemoteBuild=false&Deployer=dev.py"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["content-type"] == "application/zip"
    assert flex.running.read_bytes() == (root / ".data" / "package" / "agent.zip").read_bytes()
    token = next(call for call in flex.calls if call[:2] == ["account", "get-access-token"])
    assert option(token, "--resource") == "https://appservice.azure.com"
    assert not [call for call in flex.calls if "restart" in call]


def test_the_token_for_the_deployment_site_is_of_the_sites_cloud() -> None:
    assert token_audience("app.scm.azurewebsites.net") == "https://appservice.azure.com"
    assert token_audience("app.scm.azurewebsites.us") == "https://appservice.azure.us"


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        ([(404, {}), (200, {"status": 1}), (200, {"status": 4})], None),
        ([(202, {"status": 2}), (404, {})], None),
        ([(500, {}), (200, {"status": 4})], None),
        ([(200, {"status": 3, "status_text": "no function_app.py"})], "deployment was failed: no function_app.py"),
        ([(200, {"status": 5})], "deployment was superseded by another"),
        ([(200, {"status": 1})], "has not finished the deployment within 600 s"),
    ],
)
def test_a_deployment_to_flex_is_followed_to_its_end(
    root: Path, flex: FakeAzure, answers: list[tuple[int, object]], result: str | None
) -> None:
    make_package(root, "new")
    flex.deployment = answers
    host = json.loads((flex.state / "site").read_text())["properties"]["hostNameSslStates"][1]["name"]
    site = ScmSite(host, TOKEN, pause=lambda _: None)
    if result is None:
        site.deploy(root / ".data" / "package" / "agent.zip")
    else:
        with pytest.raises(DeployError, match=result):
            site.deploy(root / ".data" / "package" / "agent.zip")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((409, "busy"), "Another deployment of this Function App is going on."),
        ((403, "IP forbidden"), "Azure did not take the package (status 403): IP forbidden"),
    ],
)
def test_a_package_that_flex_refuses_is_said(
    root: Path, flex: FakeAzure, capsys: pytest.CaptureFixture[str], answer: tuple[int, str], sentence: str
) -> None:
    make_package(root, "new")
    flex.publish_answer = answer
    assert main([], root) == 1
    said = capsys.readouterr().err
    assert said.startswith(sentence)
    assert TOKEN not in said


def test_one_command_brings_an_earlier_build_back(root: Path, azure: FakeAzure) -> None:
    old = make_package(root, "old")
    assert main([], root) == 0
    new = make_package(root, "new")
    assert main([], root) == 0
    assert read_build(azure.running).build == new
    assert main(["--build", old], root) == 0
    assert read_build(azure.running).build == old
    assert azure.blobs == sorted([f"agent-{old}.zip", f"agent-{new}.zip", "agent.zip"])


def test_on_flex_too(root: Path, flex: FakeAzure) -> None:
    old = make_package(root, "old")
    assert main([], root) == 0
    make_package(root, "new")
    assert main([], root) == 0
    assert main(["--build", old], root) == 0
    assert read_build(flex.running).build == old


def test_the_builds_that_can_come_back_are_listed_the_newest_first(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("agent-aaaaaaaaaaaa.zip", "agent-bbbbbbbbbbbb.zip", "agent-of-somebody-else.zip", "agent.zip"):
        (azure.state / "blobs" / name).touch()
    assert main(["--builds"], root) == 0
    assert capsys.readouterr().out.splitlines() == [
        "bbbbbbbbbbbb  2026-01-02T00:00:00+00:00",
        "aaaaaaaaaaaa  2026-01-01T00:00:00+00:00",
    ]


def test_a_build_that_is_not_kept_is_answered_with_those_that_are(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--build", "0123456789ab"], root) == 1
    assert capsys.readouterr().err == "Build 0123456789ab is not kept in storage. There is none yet.\n"
    (azure.state / "blobs" / "agent-aaaaaaaaaaaa.zip").touch()
    assert main(["--build", "0123456789ab"], root) == 1
    assert "These are: aaaaaaaaaaaa." in capsys.readouterr().err


def test_a_kept_build_that_is_not_what_its_name_says_is_not_deployed(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "other")
    package = (root / ".data" / "package" / "agent.zip").read_bytes()
    for content in (package, b"half a zip"):
        (azure.state / "blobs" / "agent-aaaaaaaaaaaa.zip").write_bytes(content)
        assert main(["--build", "aaaaaaaaaaaa"], root) == 1
        assert capsys.readouterr().err.startswith("What is kept as build aaaaaaaaaaaa ")
    assert "agent.zip" not in azure.blobs


def test_a_package_for_another_python_than_the_function_apps_is_not_deployed(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "new", python="3.13")
    assert main([], root) == 1
    said = capsys.readouterr().err
    assert "is made for Python 3.13, and the Function App runs 3.12 (PYTHON_VERSION)" in said
    assert said.endswith("python3 dev.py package --python 3.12\n")
    assert azure.blobs == []


def test_without_a_package_it_says_how_to_make_one(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], root) == 1
    said = capsys.readouterr().err
    assert said.startswith("There is nothing to deploy: there is no ")
    assert said.endswith("python3 dev.py package\n")


def test_no_azure_cli_is_said_with_where_to_get_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "new")
    monkeypatch.setenv("PATH", "")
    assert main([], root) == 1
    said = capsys.readouterr().err
    assert said.startswith("The Azure CLI (az) is not installed, or not on the PATH. https://")
    assert said.endswith("az login\n")


def test_not_being_signed_in_is_said_before_anything_is_changed(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "new")
    azure.fail({"account show": (1, "ERROR: Please run 'az login' to setup account.")})
    assert main([], root) == 1
    assert capsys.readouterr().err == (
        "The Azure CLI is not signed in, or no longer: az login\n\nERROR: Please run 'az login' to setup account.\n"
    )
    assert len(azure.calls) == 1


def test_what_az_says_when_it_fails_is_shown_with_the_role_that_is_needed(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "new")
    azure.fail({"storage blob upload": (3, "ERROR: You do not have the required permissions needed.")})
    assert main([], root, Clock().waiting) == 1
    said = capsys.readouterr().err
    assert re.match(r"az storage blob upload .* failed with exit code 3\.", said)
    assert "needs the role Storage Blob Data Contributor on the storage account" in said
    assert said.endswith("ERROR: You do not have the required permissions needed.\n")
    azure.fail({"functionapp restart": (1, "ERROR: (ResourceNotFound) The Resource was not found.")})
    assert main([], root) == 1
    assert "(ResourceNotFound)" in capsys.readouterr().err


@pytest.mark.parametrize(("failing", "code"), [(5, 0), (6, 1)])
def test_triggers_are_asked_for_again_while_the_app_starts(
    root: Path, azure: FakeAzure, failing: int, code: int
) -> None:
    make_package(root, "new")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == failing:
            azure.fail({})

    azure.fail({"rest --method post": (1, "ERROR: Encountered an error (ServiceUnavailable) from host runtime.")})
    assert main([], root, Waiting(pause=pause)) == code
    assert pauses == [10.0] * 5


def test_a_bot_that_never_answers_as_the_new_build_is_another_exit_code(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "old")
    assert main([], root) == 0
    old = read_build(azure.running).build
    build = make_package(root, "new")
    azure.fail({"functionapp restart": (0, "")})
    assert main(["--wait", "0"], root) == 3
    said = capsys.readouterr().err
    assert f"Build {build} is in place, but after 0 s build {old} still answers at http://127.0.0.1:" in said
    assert said.endswith(f"Build {old} ran before. To bring it back: python3 dev.py deploy --build {old}\n")
    azure.health_answers = False
    assert main(["--wait", "0"], root) == 3
    assert "there is no answer that names a build (status 502)" in capsys.readouterr().err


def test_health_is_asked_until_it_turns(azure: FakeAzure, root: Path) -> None:
    build = make_package(root, "new")
    clock = Clock()

    def pause(seconds: float) -> None:
        clock.pause(seconds)
        if clock.pauses == 4:
            azure.running.write_bytes((root / ".data" / "package" / "agent.zip").read_bytes())

    with serving(azure) as host:
        wait_for_health(f"http://{host}/api/health", build, 60, "", clock.time, pause)
    assert clock.pauses == 4


def test_health_that_never_turns_ends_within_its_limit(azure: FakeAzure) -> None:
    clock = Clock()
    with (
        serving(azure) as host,
        pytest.raises(UnhealthyError, match="after 60 s there is no answer that names a build"),
    ):
        wait_for_health(f"http://{host}/api/health", "0123456789ab", 60, "", clock.time, clock.pause)
    assert clock.now <= 60


def test_a_new_build_that_is_not_well_is_told_from_one_that_is_not_there(
    azure: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = b'{"status": "invalid settings", "build": "0123456789ab"}'
    monkeypatch.setattr(azure, "health", lambda: (503, said))
    with (
        serving(azure) as host,
        pytest.raises(UnhealthyError, match=r"^Build 0123456789ab runs, but .* with status 503"),
    ):
        wait_for_health(f"http://{host}/api/health", "0123456789ab", 0, "")


def test_a_host_that_cannot_be_reached_is_waited_for(azure: FakeAzure) -> None:
    with pytest.raises(UnhealthyError, match="there is no answer that names a build"):
        wait_for_health("http://127.0.0.1:9/api/health", "0123456789ab", 0, "")


def test_every_variable_that_provision_has_not_written_is_named(
    azure: FakeAzure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provision(tmp_path, FUNCTION_APP_NAME="")
    assert main([], tmp_path) == 1
    assert capsys.readouterr().err.startswith("No value for FUNCTION_APP_NAME, HEALTH_URL. Provision first")
    assert azure.calls == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOSTING_PLAN", "premium"),
        ("HEALTH_URL", "file:///etc/passwd"),
        ("STORAGE_ACCOUNT_NAME", "st --help"),
        ("AZURE_SUBSCRIPTION_ID", "my subscription"),
    ],
)
def test_a_variable_that_cannot_be_is_named(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    provision(root, **{name: value})
    assert main([], root) == 1
    assert capsys.readouterr().err.startswith(name)
    assert azure.calls == []


def test_what_the_environment_says_wins_over_the_file(
    root: Path, azure: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(root, "new")
    monkeypatch.setenv("FUNCTION_APP_NAME", "func-other")
    monkeypatch.setenv("PYTHON_VERSION", "3.12.4")  # as Python's container images set it
    assert main([], root) == 0
    assert (
        option(next(call for call in azure.calls if call[:2] == ["functionapp", "restart"]), "--name") == "func-other"
    )


@pytest.mark.parametrize("arguments", [["--build", "latest"], ["--build", "0123456789ab", "--builds"], ["--plan"]])
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], root: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, root)
    assert ended.value.code == 2


def test_it_needs_the_standard_library_alone() -> None:
    files = [*ROOT.glob("ops/deploy/*.py"), ROOT / "ops/package/archive.py", ROOT / "ops/package/__init__.py"]
    files += [ROOT / "ops/command.py", ROOT / "ops/parameters.py", ROOT / "ops/__init__.py"]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "ops"}, file


def test_dev_py_deploys_without_installing_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    def deploy(arguments: list[str]) -> int:
        given.append(arguments)
        return 3

    monkeypatch.setattr("ops.deploy.__main__.main", deploy)
    monkeypatch.setattr(VirtualEnvironment, "install", lambda *_: pytest.fail("nothing needs to be installed"))
    assert dev.main(["deploy", "--build", "0123456789ab"]) == 3
    assert given == [["--build", "0123456789ab"]]


@pytest.mark.parametrize(
    ("said", "role"),
    [
        ("ERROR: (AuthorizationFailed) ... action 'Microsoft.Web/sites/restart/action'", "Contributor"),
        (
            "ERROR: Authorization failed for template resource 'x' of type 'Microsoft.Authorization/roleAssignments'",
            "Role Based Access Control Administrator",
        ),
    ],
)
def test_the_role_that_is_named_is_the_one_that_is_missing(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str], said: str, role: str
) -> None:
    make_package(root, "new")
    azure.fail({"functionapp restart": (1, said)})
    assert main([], root, Clock().waiting) == 1
    assert f"needs the role {role} (a new one" in capsys.readouterr().err
