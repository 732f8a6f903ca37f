"""The Azure CLI as deploy and provision use it: bounded in time, and with nothing secret said."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ops.deploy import DeployError
from ops.deploy.__main__ import main as deploy
from ops.deploy.azure_cli import AzureCli
from ops.deploy.scm import ScmSite
from ops.provision import main as provision_main
from tests.fakes.azure import TOKEN, FakeAzure
from tests.fakes.provisioned import SUBSCRIPTION, Clock, make_package, option, provision
from tests.fakes.provisioned import azure as azure
from tests.fakes.provisioned import flex as flex
from tests.fakes.provisioned import root as root

REPOSITORY = Path(__file__).resolve().parents[2]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(os.name == "nt", reason="the script is one of a Unix shell")
def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "az"
    program.write_text(f'#!/bin/sh\nsleep 60 &\necho $! > "{tmp_path}/child"\nwait\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    started = time.monotonic()
    with pytest.raises(DeployError, match=r"^az storage blob list had not ended after 1 s and was stopped\. What it"):
        AzureCli(SUBSCRIPTION).run("storage", "blob", "list", timeout_seconds=1)
    assert time.monotonic() - started < 30
    child = int((tmp_path / "child").read_text())
    ends = time.monotonic() + 5
    while alive(child) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not alive(child), "the program behind az lives on"


def test_no_command_of_deploy_or_provision_is_without_a_limit(
    root: Path, flex: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    finish = AzureCli._finish

    def noting(self: AzureCli, command: list[str], folder: Path | None, timeout_seconds: float) -> tuple[int, str, str]:
        limits.append(timeout_seconds)
        return finish(self, command, folder, timeout_seconds)

    monkeypatch.setattr(AzureCli, "_finish", noting)
    make_package(root, "new")
    assert deploy([], root) == 0
    assert set(limits) == {600.0}


def test_a_token_is_not_shown_when_az_answers_with_something_else_than_json(
    root: Path, flex: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "new")
    flex.answer({"account get-access-token": f'{{"accessToken": "{TOKEN}", '})
    assert deploy([], root) == 1
    out, err = capsys.readouterr()
    assert err == "az account get-access-token did not answer with JSON\n"
    assert TOKEN not in out


def test_what_is_no_secret_is_shown(azure: FakeAzure) -> None:
    azure.answer({"account show": "Welcome!"})
    with pytest.raises(DeployError, match="az account show did not answer with JSON: Welcome!"):
        AzureCli(SUBSCRIPTION).run("account", "show")


def test_a_deployment_site_that_nobody_vouches_for_gets_neither_token_nor_package(
    root: Path, flex: FakeAzure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "new")
    (tmp_path / "none.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert deploy([], root) == 1
    assert "could not be reached: [SSL: CERTIFICATE_VERIFY_FAILED]" in capsys.readouterr().err
    assert flex.published == []


def test_a_certificate_for_another_host_is_refused(root: Path, flex: FakeAzure) -> None:
    make_package(root, "new")
    host = json.loads((flex.state / "site").read_text())["properties"]["hostNameSslStates"][1]["name"]
    site = ScmSite(host.replace("127.0.0.1", "localhost"), TOKEN, pause=lambda _: None)
    with pytest.raises(DeployError, match="CERTIFICATE_VERIFY_FAILED"):
        site.deploy(root / ".data" / "package" / "agent.zip")
    assert flex.published == []


PARAMETERS = {"DATABRICKS_BASE_URL": "https://w.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "m"}


def test_a_repository_below_a_folder_with_any_name_is_provisioned(
    root: Path, azure: FakeAzure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`root` is below a folder whose name cmd.exe would take for commands, as `R&D` is."""
    assert "&" in str(root)
    shutil.copytree(REPOSITORY / "infra", root / "infra")
    provision(root, RESOURCE_SUFFIX="dev01", **PARAMETERS)
    monkeypatch.chdir(tmp_path)
    limits: list[float] = []
    run = AzureCli.run

    def noting(self: AzureCli, *arguments: str, folder: Path, timeout_seconds: float) -> Any:
        limits.append(timeout_seconds)
        return run(self, *arguments, folder=folder, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(AzureCli, "run", noting)
    assert provision_main([], root) == 0, capsys.readouterr().err
    (call,) = azure.calls
    assert option(call, "--template-file") == "infra/azure.bicep"
    assert option(call, "--parameters").startswith("@.data/provision-")
    assert limits == [3600.0]
    given = json.loads((azure.state / "parameters.json").read_text())["parameters"]
    assert given["databricksModelName"]["value"] == "m"
    assert list((root / ".data").iterdir()) == [], "a secret could be among the parameters"
    assert "BOT_ID=the-bot\n" in (root / "env" / ".env.dev").read_text()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_an_environment_file_in_another_encoding_is_a_sentence(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    make_package(root, "new")
    file = root / "env" / ".env.dev"
    file.write_bytes(file.read_text().encode(encoding))
    for command in (deploy, provision_main):
        assert command([], root) == 1
        said = capsys.readouterr().err
        assert said == "env/.env.dev is not UTF-8 text, but perhaps what PowerShell's > writes: save it as UTF-8\n"
    assert azure.calls == []


def test_a_byte_order_mark_belongs_to_no_name(root: Path, azure: FakeAzure) -> None:
    build = make_package(root, "new")
    file = root / "env" / ".env.dev"
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert deploy([], root, Clock().waiting) == 0
    assert azure.blobs == [f"agent-{build}.zip", "agent.zip"]
