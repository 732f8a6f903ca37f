"""Whether infra/ is compiled, and what is said of it, with a stand-in for the compiler."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.bicep import CompilerError, compile_infra, find_compiler, main, pinned_version

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.49.2"
# Takes spaces out where it formats, and puts resources into an order that changes, as the real one does.
COMPILER = """#!{python} -IS
import json, os, random, sys
from pathlib import Path

if sys.argv[1] == "--version":
    print("Bicep CLI version {version} (0123456789)")
elif sys.argv[1] == "build":
    words = Path(sys.argv[2]).read_text().split()
    Path(sys.argv[4]).write_text(json.dumps({{"metadata": {{"_generator": {{"name": "bicep"}}}}, "words": words}}))
    print({said!r}.replace("FILE", sys.argv[2]), file=sys.stderr)
elif sys.argv[1] == "snapshot":
    resources = [{{"name": name}} for name in "abcdefgh"]
    random.shuffle(resources)
    Path(sys.argv[2]).with_suffix(".snapshot.json").write_text(json.dumps({{"predictedResources": resources}}))
elif sys.argv[1] == "format":
    for file in Path().glob(sys.argv[3]):
        file.write_text(file.read_text().replace("  ", " "))
"""
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script with a first line for Unix")


def compiler_in(folder: Path, said: str = "", version: str = VERSION) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "bicep"
    file.write_text(COMPILER.format(python=sys.executable, said=said, version=version))
    file.chmod(0o755)
    return str(file)


def files(root: Path) -> Iterator[tuple[str, Path]]:
    return ((path.relative_to(root).as_posix(), path) for path in root.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose files are what the compiler makes of them."""
    folder = tmp_path_factory.mktemp("written")
    root = folder / "project"
    (root / "infra/snapshots").mkdir(parents=True)
    (root / "m365agents.yml").write_text(f"      bicepCliVersion: v{VERSION}\n")
    (root / "infra/azure.bicep").write_text("param a string\n")
    (root / "infra/snapshots/flex.bicepparam").write_text("using '../azure.bicep'\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BICEP", compiler_in(folder))
        assert main(["--write"], root) == 0
    return root


@pytest.fixture
def project(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BICEP", compiler_in(tmp_path))
    return Path(shutil.copytree(written, tmp_path / "project"))


def test_the_compiler_is_the_one_that_is_named_or_on_the_path_or_of_the_azure_cli(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("named", "path", "azure/bin")}
    environment = {"PATH": str(places["path"]), "AZURE_CONFIG_DIR": str(tmp_path / "azure")}
    assert find_compiler(environment, VERSION) is None
    azure = compiler_in(places["azure/bin"])
    assert find_compiler(environment, VERSION) == azure
    path = compiler_in(places["path"])
    assert find_compiler(environment, VERSION) == path
    named = compiler_in(places["named"])
    assert find_compiler(environment | {"BICEP": named}, VERSION) == named


def test_a_compiler_of_another_version_does_not_count_and_is_refused_where_it_is_named(tmp_path: Path) -> None:
    other = compiler_in(tmp_path, version="0.50.1")
    assert find_compiler({"PATH": str(tmp_path), "AZURE_CONFIG_DIR": ""}, VERSION) is None
    for name in (other, str(tmp_path / "none")):
        with pytest.raises(CompilerError, match=r"is not Bicep 0\.49\.2, which m365agents\.yml provisions with"):
            find_compiler({"BICEP": name}, VERSION)


def test_without_a_compiler_a_change_is_noticed_and_nothing_can_be_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BICEP")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(project))
    assert (main([], project), main(["--write"], project)) == (0, 1)
    assert "there is no Bicep 0.49.2 (az bicep install --version v0.49.2)" in capsys.readouterr().out
    (project / "infra/azure.bicep").write_text("param b string\n")
    assert main([], project) == 1
    assert "infra/ has changed since infra/snapshots was written: " in capsys.readouterr().err


def test_what_was_written_is_what_the_next_run_compares_with(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], project) == 0, capsys.readouterr().err
    snapshot = json.loads((project / "infra/snapshots/flex.snapshot.json").read_text())
    assert [resource["name"] for resource in snapshot["predictedResources"]] == list("abcdefgh")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("infra/azure.bicep", "param  a string\n"),
        ("infra/snapshots/azure.json", "{}\n"),
        ("infra/snapshots/flex.snapshot.json", "{}\n"),
        ("infra/snapshots/flex.bicepparam", "using  '../azure.bicep'\n"),
        ("infra/snapshots/old.snapshot.json", "{}\n"),
    ],
)
def test_a_file_that_the_compiler_would_write_otherwise_is_told_and_written_anew(
    project: Path, written: Path, file: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / file).write_text(text)
    assert main([], project) == 1
    assert f"{file}: not what the compiler makes of infra/: " in capsys.readouterr().err
    assert main(["--write"], project) == 0
    assert {name: path.read_text() for name, path in files(project)} == {
        name: path.read_text() for name, path in files(written)
    }


@pytest.mark.parametrize("severity", ["Warning", "Error"])
def test_a_warning_is_as_bad_as_an_error_and_an_information_is_not(
    project: Path, severity: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"FILE(1,2) : Info use-recent-api-versions: old\nFILE(3,4) : {severity} BCP089: misspelt\n"
    monkeypatch.setenv("BICEP", compiler_in(project.parent, said))
    (project / "infra/azure.bicep").write_text("param b string\n")
    for arguments in ([], ["--write"]):
        assert main(arguments, project) == 1
        assert capsys.readouterr().err == f"infra/azure.bicep(3,4): {severity} BCP089: misspelt\n"
    assert '"a"' in (project / "infra/snapshots/azure.json").read_text()


def test_a_compiler_that_fails_without_a_line_is_quoted(project: Path) -> None:
    failing = project.parent / "bicep"
    failing.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('out of memory')\n")
    assert "bicep build: out of memory" in compile_infra(str(failing), project).problems


def test_people_and_pipelines_compile_with_the_version_that_is_pinned() -> None:
    version = pinned_version(ROOT)
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    workflows = "".join(file.read_text(encoding="utf-8") for file in (ROOT / ".github/workflows").glob("*.yml"))
    assert set(re.findall(r"az bicep install --version (\S+)", workflows)) == {f"v{version}"}
