"""What goes into the package, and that it is the same each time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path

import pytest

from ops.package import SITE_PACKAGES, PackageError
from ops.package.__main__ import main
from ops.package.archive import NotAPackageError, files_of, read_build
from ops.package.build import Package, make_package
from ops.package.project import deployed_files
from tests.fakes.packaging import ROOT, copy_project, install_small, small_project, track, write

PYTHON = sysconfig.get_python_version()
CACHE = f"cpython-{PYTHON.replace('.', '')}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return small_project(tmp_path / "project")


def package_of(project: Path, output: Path) -> Package:
    return make_package(project, output, PYTHON, install_small)


def content_of(package: Package) -> dict[str, bytes]:
    with zipfile.ZipFile(package.zip) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


OURS = {"app/__init__.py", "app/agent/agent.py", "build.json", "function_app.py", "host.json", "requirements.txt"}


def test_it_holds_what_is_deployed_and_nothing_else(project: Path, tmp_path: Path) -> None:
    package = package_of(project, tmp_path / "out")
    names = set(content_of(package))
    ours = {name for name in names if not name.startswith(SITE_PACKAGES) and not name.endswith(".pyc")}
    assert ours == OURS
    theirs = {name.removeprefix(f"{SITE_PACKAGES}/") for name in names if name.startswith(SITE_PACKAGES)}
    assert {name for name in theirs if not name.endswith(".pyc")} == {
        "dependency/__init__.py",
        "dependency/inner.py",
        "dependency/template.py",
        "dependency/py.typed",
        "dependency/data.json",
        "single.py",
        "dependency-1.dist-info/METADATA",
        "dependency-1.dist-info/entry_points.txt",
        "dependency-1.dist-info/licenses/LICENSE",
    }
    assert package.not_compiled == [f"{SITE_PACKAGES}/dependency/template.py"]
    compiled = {name for name in names if name.endswith(".pyc")}
    assert {name.split(".")[-2] for name in compiled} == {CACHE}, "somebody else's bytecode"
    expected = {name for name in names if name.endswith(".py")} - set(package.not_compiled)
    assert {re.sub(r"__pycache__/(\w+)\..*", r"\1.py", name) for name in compiled} == expected


def test_the_folder_beside_the_zip_has_the_same_content(project: Path, tmp_path: Path) -> None:
    package = package_of(project, tmp_path / "out")
    assert {name: path.read_bytes() for name, path in files_of(package.folder)} == content_of(package)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["agent", "agent.zip"]


def test_nothing_of_this_repository_but_the_app_itself_is_deployed(tmp_path: Path) -> None:
    files = deployed_files(copy_project(tmp_path / "project"))
    assert {file.partition("/")[0] for file in files} == {"app", "function_app.py", "host.json", "requirements.txt"}
    assert not [file for file in files if file.startswith("app/local/")]
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-from=.funcignore"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert {"dev.py", "app/local/host.py", "tests/__init__.py"} <= set(tracked.stdout.splitlines())


def test_the_app_settings_of_a_developer_are_never_deployed(project: Path) -> None:
    write(project, {"local.settings.json": "{}", "env/.env.dev.user": "SECRET_X=1\n"})
    track(project)
    assert set(deployed_files(project)) == OURS - {"build.json"}


@pytest.mark.parametrize(
    "secret", ["env/.env.dev.user", "app/.env", "app/key.PEM", "local.settings.json", "app/local/host.py"]
)
def test_a_secret_that_the_ignore_file_lets_through_stops_the_package(project: Path, secret: str) -> None:
    (project / ".funcignore").write_text("tests/\nops/\n*.md\npyproject.toml\n.funcignore\n")
    for name in ("env", "app/local"):
        shutil.rmtree(project / name)
    write(project, {secret: ""})
    track(project)
    with pytest.raises(
        PackageError, match=re.escape(f"{secret} must not be deployed, but .funcignore lets it through")
    ):
        deployed_files(project)


def test_a_file_that_git_does_not_track_stops_the_package(project: Path) -> None:
    write(project, {"app/passwords.json": "{}", "tests/new.py": "", "app/agent/__pycache__/agent.pyc": ""})
    (project / ".gitignore").write_text("__pycache__/\n")
    with pytest.raises(PackageError, match=r"^git does not track app/passwords\.json\. What is to be deployed needs"):
        deployed_files(project)


@pytest.mark.parametrize("missing", ["function_app.py", "host.json"])
def test_a_package_without_what_azure_starts_from_is_refused(project: Path, missing: str) -> None:
    subprocess.run(["git", "rm", "--quiet", "-f", missing], cwd=project, check=True)
    with pytest.raises(PackageError, match=f"^{missing} is missing"):
        deployed_files(project)


def test_a_tracked_file_that_is_gone_is_named(project: Path) -> None:
    (project / "app" / "agent" / "agent.py").unlink()
    with pytest.raises(PackageError, match=r"^app/agent/agent\.py is tracked by git and not there"):
        deployed_files(project)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_a_symbolic_link_is_refused(project: Path) -> None:
    (project / "app" / "link.py").symlink_to(project / "host.json")
    track(project)
    with pytest.raises(PackageError, match=r"^app/link\.py is a symbolic link"):
        deployed_files(project)


def test_a_folder_that_is_no_clone_says_what_helps(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    with pytest.raises(PackageError, match="git init && git add"):
        deployed_files(project)


def test_no_git_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PackageError, match=r"^git was not found"):
        deployed_files(project)


def test_the_build_file_names_the_version_and_the_fingerprint_of_everything_else(project: Path, tmp_path: Path) -> None:
    package = package_of(project, tmp_path / "out")
    content = content_of(package)
    lines = [
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in sorted(content.items())
        if name != "build.json"
    ]
    build = hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
    assert json.loads(content["build.json"]) == {"version": "1.2.3", "build": build}
    assert package.build == build
    found = read_build(package.zip)
    assert (found.build, found.version, found.python) == (build, "1.2.3", PYTHON)


def test_any_change_is_another_build(project: Path, tmp_path: Path) -> None:
    before = package_of(project, tmp_path / "out").build
    (project / "host.json").write_text('{"version": "2.0"}\n')
    assert package_of(project, tmp_path / "out").build != before


def test_a_zip_that_was_changed_is_not_taken_for_the_build_it_names(project: Path, tmp_path: Path) -> None:
    package = package_of(project, tmp_path / "out")
    with zipfile.ZipFile(package.zip, "a") as archive:
        archive.writestr("app/more.py", "")
    with pytest.raises(NotAPackageError, match="has been changed since"):
        read_build(package.zip)


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_package_is_told_apart(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "agent.zip").write_bytes(content)
    with pytest.raises(NotAPackageError):
        read_build(tmp_path / "agent.zip")


@pytest.mark.parametrize("python", ["3.10", "3.14", "3", "3.12.1", "latest"])
def test_a_python_that_the_project_does_not_run_on_is_refused(
    project: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--python", python], project) == 1
    said = capsys.readouterr().err
    assert said == f"{python} is none of the Python versions that this project runs on: 3.11, 3.12, 3.13\n"


def test_the_command_says_how_large_the_package_is_and_what_makes_it_so(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def installing(root: Path, target: Path, python: str) -> None:
        asked.append(python)
        install_small(root, target, python)

    monkeypatch.setattr("ops.package.build.install_wheels", installing)
    (project / "env" / ".env.dev").write_text(f"PYTHON_VERSION={PYTHON}\n")
    assert main(["--output", str(tmp_path / "out")], project) == 0
    package = tmp_path / "out" / "agent.zip"
    said = capsys.readouterr().out
    assert asked == [PYTHON], "PYTHON_VERSION of env/.env.dev was not used"
    assert hashlib.sha256(package.read_bytes()).hexdigest() in said
    assert f"build {read_build(package).build}, for Python {PYTHON} on Linux" in said
    assert re.search(r"0\.0 MB  dependency\n", said)
    assert re.search(r"0\.0 MB  this project\n", said)
    assert "Not compiled, because it is not Python: .python_packages/lib/site-packages/dependency/template.py" in said
