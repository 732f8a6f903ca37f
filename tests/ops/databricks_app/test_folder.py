"""The folder that is uploaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from agent_server.access.access_check import RESOURCES_FILE, read_resources
from app.version import read_build, read_git_commit
from ops.databricks_app import AppError
from ops.databricks_app.bundle import BUNDLE_FILE, AppBundle, load_bundle
from ops.databricks_app.folder import LOCK, MAX_FILE_BYTES, git_commit, make_folder
from tests.ops.files.deployments import ROOT

GIT = ["git", "-c", "user.name=n", "-c", "user.email=e@example.com"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for file in ("pyproject.toml", LOCK, BUNDLE_FILE, "agent_server/app.yaml"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    for file, text in {
        "requirements.txt": "botbuilder-core==4.17.1\n",
        "function_app.py": "",
        "app/__init__.py": "",
        "app/bot/__init__.py": "",
        "app/local/__init__.py": "",
        "app/locale/de/LC_MESSAGES/app.po": "",
        "app/locale/de/LC_MESSAGES/app.mo": "",
        "agent_server/__init__.py": "",
        "agent_server/cli.py": "def command() -> None: ...\r\n",
        "agent_server/ui/package.json": "{}",
        "agent_server/ui/src/main.tsx": "",
        ".gitignore": "dist/\n",
    }.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(text.encode())
    subprocess.run([*GIT, "init", "-q"], cwd=root, check=True)
    commit(root)
    (root / "agent_server/ui/dist/assets").mkdir(parents=True)
    (root / "agent_server/ui/dist/index.html").write_text("<!doctype html>")
    (root / "agent_server/ui/dist/assets/index.js").write_text("1")
    return root


def commit(root: Path) -> None:
    subprocess.run([*GIT, "add", "."], cwd=root, check=True)
    subprocess.run([*GIT, "commit", "-qm", "All"], cwd=root, check=True)


def bundle(root: Path, **given: str) -> AppBundle:
    return load_bundle(root, "dev", {"endpoint": "my-model", **given}, {})


def test_it_holds_what_the_app_needs_and_nothing_else(project: Path, tmp_path: Path) -> None:
    folder = make_folder(project, bundle(project), tmp_path / "out")
    assert set(folder.files()) == {
        "agent_server/__init__.py",
        "agent_server/cli.py",
        "agent_server/ui/dist/assets/index.js",
        "agent_server/ui/dist/index.html",
        "app/__init__.py",
        "app/locale/de/LC_MESSAGES/app.mo",
        "app.yaml",
        "app_resources.json",
        "build.json",
        "databricks.yml",
        "pyproject.toml",
    }
    assert (folder.path / "agent_server/cli.py").read_bytes().endswith(b"...\n"), "Linux's line ends"


def test_it_says_which_commit_and_build_it_is(project: Path, tmp_path: Path) -> None:
    folder = make_folder(project, bundle(project), tmp_path / "out")
    head = subprocess.run([*GIT, "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True)
    assert folder.commit == head.stdout.strip()
    build_file = folder.path / "build.json"
    assert (read_build(build_file), read_git_commit(build_file)) == (folder.build, folder.commit)
    again = make_folder(project, bundle(project), tmp_path / "out")
    assert again.build == folder.build
    (project / "agent_server/cli.py").write_text("changed = 1\n")
    changed = make_folder(project, bundle(project), tmp_path / "out")
    assert changed.build != folder.build
    assert read_git_commit(build_file) == f"{folder.commit}+", "files differ from the commit"


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == ""


def test_the_project_is_pinned_to_the_lock_and_offers_the_command(project: Path, tmp_path: Path) -> None:
    folder = make_folder(project, bundle(project), tmp_path / "out")
    written = tomllib.loads((folder.path / "pyproject.toml").read_text(encoding="utf-8"))
    assert written["project"]["scripts"] == {"agent-server": "agent_server.cli:command"}
    pins = written["project"]["dependencies"]
    assert "mlflow==3.17.2" in pins
    assert all("==" in each for each in pins)
    assert not [each for each in pins if each.startswith(("botbuilder", "azure-functions"))]


def test_the_written_bundle_gives_the_same_app_without_the_command_line(project: Path, tmp_path: Path) -> None:
    chosen = bundle(project, genie_space="01ef", group="analysts", app_name="other")
    folder = make_folder(project, chosen, tmp_path / "out")
    (tmp_path / "root/agent_server").mkdir(parents=True)
    shutil.copy(folder.path / "databricks.yml", tmp_path / "root" / BUNDLE_FILE)
    again = load_bundle(tmp_path / "root", "dev", {}, {})
    assert again.content == chosen.content
    text = (folder.path / "databricks.yml").read_text(encoding="utf-8")
    assert "sql_warehouse" not in text, "a bundle cannot have a resource without its id"


def test_app_yaml_names_resources_as_databricks_apps_does(project: Path, tmp_path: Path) -> None:
    folder = make_folder(project, bundle(project, experiment="12"), tmp_path / "out")
    written = YAML(typ="safe").load((folder.path / "app.yaml").read_text(encoding="utf-8"))
    assert written["env"] == [
        {"name": "DATABRICKS_MODEL_NAME", "valueFrom": "model"},
        {"name": "AGENT_SERVER_IDENTITY", "value": "app"},
        {"name": "MLFLOW_EXPERIMENT_ID", "valueFrom": "experiment"},
    ]


def test_the_app_knows_its_resources_to_check_its_access(project: Path, tmp_path: Path) -> None:
    folder = make_folder(project, bundle(project, job="34"), tmp_path / "out")
    assert [each["name"] for each in read_resources(folder.path / RESOURCES_FILE.name)] == ["model", "job"]


def test_a_placeholder_is_not_written(project: Path, tmp_path: Path) -> None:
    folder = make_folder(project, load_bundle(project, "dev", {}, {}, complete=False), tmp_path / "out")
    assert "<endpoint>" not in "".join(
        (folder.path / name).read_text(encoding="utf-8") for name in folder.files() if name.count("/") == 0
    )
    written = YAML(typ="safe").load((folder.path / "app.yaml").read_text(encoding="utf-8"))
    assert {"name": "DATABRICKS_MODEL_NAME", "valueFrom": "model"} in written["env"]


@pytest.mark.parametrize("name", ["requirements.txt", "package.json"])
def test_what_databricks_would_install_from_instead_is_refused(project: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(AppError, match=f"{name} must not be at the root"):
        make_folder(project, bundle(project), tmp_path / "out", lambda root, folder: write(folder / name))
    assert not (tmp_path / "out").exists()


def write(file: Path, content: str = "") -> None:
    file.write_text(content)


def test_a_file_that_databricks_does_not_take_is_refused(project: Path, tmp_path: Path) -> None:
    write(project / "agent_server/ui/dist/assets/big.js", "x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(AppError, match=r"big\.js is larger than the 10 MB"):
        make_folder(project, bundle(project), tmp_path / "out")


def test_a_file_that_git_does_not_track_stops_it(project: Path, tmp_path: Path) -> None:
    write(project / "app/forgotten.py")
    with pytest.raises(AppError, match=r"git does not track app/forgotten\.py"):
        make_folder(project, bundle(project), tmp_path / "out")


def test_an_earlier_folder_stays_where_the_new_one_fails(project: Path, tmp_path: Path) -> None:
    first = make_folder(project, bundle(project), tmp_path / "out")

    def fail(root: Path, folder: Path) -> None:
        raise AppError("no lock")

    with pytest.raises(AppError, match="no lock"):
        make_folder(project, bundle(project), tmp_path / "out", fail)
    assert json.loads((tmp_path / "out/build.json").read_text())["build"] == first.build
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".new-")] == []
