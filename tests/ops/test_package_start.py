"""The delivered zip is started before it is deployed: what that finds in a small package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ops.package import SITE_PACKAGES, start
from ops.package.archive import Build, write_build_file, write_zip
from ops.package.build import Package, make_package
from tests.fakes.packaging import small_project, track, write

# As much of azure.functions and of an app as a start needs.
FUNCTIONS = """
class HttpRequest:
    def __init__(self, method, url, *, body):
        self.url = url
"""
FUNCTION_APP = """
import os
from pathlib import Path
import azure.functions as func

class Answer:
    status_code = 200 if os.environ.get("DATABRICKS_BASE_URL") else 503
    def get_body(self):
        return Path(__file__).with_name("build.json").read_bytes()

class Health:
    def get_function_name(self):
        return "health"
    def get_user_function(self):
        return answer

class App:
    def get_functions(self):
        return [Health()]

async def answer(request):
    return Answer()

async def close():
    pass

def later():
    import azure.storage
    from azure.data import tables

app = App()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a package runs on Linux")


def install(root: Path, target: Path, python: str) -> None:
    write(
        target,
        {
            "azure/functions/__init__.py": FUNCTIONS,
            "azure/storage/__init__.py": "",
            "azure/data/__init__.py": "",
            "azure/data/tables.py": "",
        },
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("package")
    project = small_project(folder / "project")
    write(project, {"function_app.py": FUNCTION_APP})
    track(project)
    return make_package(project, folder / "out", sysconfig.get_python_version(), install)


def test_a_package_that_is_well_answers_as_its_build(
    package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABRICKS_BASE_URL", raising=False)
    assert start.main([str(package.zip)]) == 0, capsys.readouterr().err
    python = sysconfig.get_python_version()
    said = f"{package.zip} starts on Python {python} and answers as build {package.build}.\n"
    assert capsys.readouterr().out == said


def without(parts: list[str], package: Package, target: Path) -> Path:
    """`package` without `parts`, as a zip whose build file holds for what is left."""
    folder = target / "agent"
    shutil.copytree(package.folder, folder)
    for part in parts:
        shutil.rmtree(folder / part)
    write_build_file(folder, package.version)
    write_zip(folder, target / "agent.zip")
    return target / "agent.zip"


def test_a_zip_that_lacks_a_dependency_does_not_pass_for_one_that_starts(
    package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tests' own Python has that dependency."""
    broken = without([f"{SITE_PACKAGES}/azure/functions"], package, tmp_path)
    assert start.main([str(broken)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{broken} does not start on Python 3.")
    assert "No module named 'azure.functions'" in said


def test_a_zip_that_lacks_what_only_a_later_moment_imports_does_not_pass(
    package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the packages for a storage account are, which nothing needs at the start."""
    lost = ("data", "storage")
    broken = without([f"{SITE_PACKAGES}/azure/{name}" for name in lost], package, tmp_path)
    assert start.main([str(broken)]) == 1
    sentence, *named = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith(f"{broken} lacks what it imports while it runs on Python 3.")
    lines = r"function_app\.py:\d+: ModuleNotFoundError: No module named 'azure\.(\w+)'"
    assert sorted(re.findall(lines, "\n".join(named))) == sorted(lost)


def test_imports_are_tried_wherever_they_stand_but_for_those_of_types(tmp_path: Path) -> None:
    (tmp_path / "app" / "inner").mkdir(parents=True)
    (tmp_path / "function_app.py").write_text("import json, app.inner.late\nfrom app import inner\n")
    (tmp_path / "app" / "inner" / "late.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import of_types\nelse:\n    from json import loads\n"
        "def later():\n    import importlib\n    from json import dumps, nothing\n    import not_there\n"
        "    importlib.import_module('not_there_either')\n"
    )
    script = Path(start.__file__).with_name("imports.py")
    command = [sys.executable, "-I", "-S", "-B", str(script), str(tmp_path), str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, check=True)
    late = str(Path("app/inner/late.py"))
    assert json.loads(done.stdout) == [
        [late, 8, "ModuleNotFoundError: No module named 'json.nothing'"],
        [late, 9, "ModuleNotFoundError: No module named 'not_there'"],
        [late, 10, "ModuleNotFoundError: No module named 'not_there_either'"],
    ]


def test_a_zip_that_is_not_well_does_not_pass(
    package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "_SETTINGS", {})
    assert start.main([str(package.zip)]) == 1
    assert f"{package.zip} is build {package.build} and answers with status 503" in capsys.readouterr().err


def test_a_zip_that_answers_as_another_build_does_not_pass(
    package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Build("0123456789ab", package.version, sysconfig.get_python_version())
    monkeypatch.setattr(start, "read_build", lambda _: other)
    assert start.main([str(package.zip)]) == 1
    assert f"{package.zip} is build 0123456789ab and answers with status 200" in capsys.readouterr().err


def test_what_is_no_package_is_not_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start.main([str(tmp_path / "agent.zip")]) == 1
    assert f"there is no {tmp_path / 'agent.zip'}" in capsys.readouterr().err
