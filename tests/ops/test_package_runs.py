"""The package runs: unpacked into an empty folder, with nothing else to import from."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import marshal
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest
from azure.data.tables.aio import TableClient

from app.storage.factory import CONVERSATIONS_TABLE
from ops.package import start
from ops.package.archive import Build, write_build_file, write_zip
from ops.package.build import Package, make_package
from tests.fakes.azurite import Azurite, started
from tests.fakes.connector_service import ConnectorService
from tests.fakes.packaging import (
    answered,
    ask_once,
    copy_distribution,
    copy_project,
    install_from_here,
    interrupted,
    question,
    settings,
)
from tests.fakes.serving_endpoint import ServingEndpoint

WORKER_LIBRARY = ("azure-functions-runtime", "azurefunctions-extensions-base")
STARTS = 3


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("package")
    project = copy_project(folder / "project")
    return make_package(project, folder / "out", sysconfig.get_python_version(), install_from_here)


@pytest.fixture(scope="module")
def unpacked(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    with zipfile.ZipFile(package.zip) as archive:
        archive.extractall(folder)
    return folder


def content_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.slow
async def test_the_unpacked_zip_answers_a_turn_and_writes_nothing_into_its_folder(
    package: Package, unpacked: Path
) -> None:
    before = content_of(unpacked)
    served = await ask_once(unpacked)
    assert served.health["build"] == package.build
    assert served.health["version"] == package.version
    assert content_of(unpacked) == before


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    yield from started()


@pytest.mark.slow
async def test_the_unpacked_zip_answers_a_turn_on_a_storage_account(unpacked: Path, azurite: Azurite) -> None:
    served = await ask_once(unpacked, storage=azurite.connection_string)
    async with TableClient.from_connection_string(azurite.connection_string, CONVERSATIONS_TABLE) as table:
        kept = [row async for row in table.list_entities()]
    assert any("Hello" in str(value) for row in kept for value in row.values()), kept
    assert [name for name in served.kept_in_files if name.endswith(".sqlite")] == []


@pytest.mark.slow
async def test_with_its_bytecode_a_start_compiles_nothing_and_without_it_everything(
    unpacked: Path, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(unpacked, bare, ignore=shutil.ignore_patterns("__pycache__"))
    with_it, without_it = [], []
    for _ in range(STARTS):
        with_it.append(await ask_once(unpacked))
        without_it.append(await ask_once(bare))
    assert [served.compiled for served in with_it] == [[]] * STARTS
    compiled = without_it[0].compiled
    assert str(bare / "function_app.py") in compiled
    assert any("site-packages" in path for path in compiled)
    quick, slow = (median(served.seconds for served in starts) for starts in (with_it, without_it))
    figure(
        f"From process start to the first answer, median of {STARTS}: {quick:.2f} s with the package's bytecode, "
        f"{slow:.2f} s without ({len(compiled)} modules compiled), {slow / quick:.1f} times as long."
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a package runs on Linux")
def test_the_delivered_zip_is_started_and_answers_as_its_build(
    package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABRICKS_BASE_URL", "not the package's")
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a package runs on Linux")
def test_a_zip_that_lacks_a_dependency_does_not_pass_for_one_that_starts(
    package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tests' own Python has that dependency."""
    broken = without([".python_packages/lib/site-packages/azure/functions"], package, tmp_path)
    assert start.main([str(broken)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{broken} does not start on Python 3.")
    assert "No module named 'azure.functions'" in said


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a package runs on Linux")
def test_a_zip_that_lacks_what_only_a_later_moment_imports_does_not_pass(
    package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Conversations in a storage account, the managed identity's token: neither is there at the start."""
    lost = ("data", "identity", "storage")
    broken = without([f".python_packages/lib/site-packages/azure/{name}" for name in lost], package, tmp_path)
    assert start.main([str(broken)]) == 1
    sentence, *named = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith(f"{broken} lacks what it imports while it runs on Python 3.")
    lines = r"app/storage/\w+\.py:\d+: ModuleNotFoundError: No module named 'azure\.(\w+)'"
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a package runs on Linux")
def test_a_zip_that_is_not_well_does_not_pass(
    package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "_SETTINGS", {})
    assert start.main([str(package.zip)]) == 1
    assert f"{package.zip} is build {package.build} and answers with status 503" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a package runs on Linux")
def test_a_zip_that_answers_as_another_build_does_not_pass(
    package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Build("0123456789ab", package.version, sysconfig.get_python_version())
    monkeypatch.setattr(start, "read_build", lambda _: other)
    assert start.main([str(package.zip)]) == 1
    assert f"{package.zip} is build 0123456789ab and answers with status 200" in capsys.readouterr().err


def test_what_is_no_package_is_not_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start.main([str(tmp_path / "agent.zip")]) == 1
    assert f"there is no {tmp_path / 'agent.zip'}" in capsys.readouterr().err or sys.platform != "linux"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Microsoft's worker library needs Python 3.13 or later")
async def test_microsofts_worker_library_indexes_and_invokes_every_trigger_of_the_package(
    package: Package, tmp_path: Path
) -> None:
    for name in WORKER_LIBRARY:
        copy_distribution(importlib.metadata.distribution(name), tmp_path / "worker")
    script = Path(__file__).parents[1] / "fakes" / "functions_worker.py"
    async with ServingEndpoint() as model, ConnectorService() as connector:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-B", str(script), str(package.folder), str(tmp_path / "worker")),
            cwd=tmp_path,
            env=settings(model, tmp_path / "data"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert worker.stdin
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        invoked = [
            ("messages", question(connector)),
            ("resume_turn", interrupted(question(connector, 2))),
            ("resume_turn", "neither a turn nor JSON"),
            ("delete_old_conversations", timer),
        ]
        worker.stdin.write(json.dumps(invoked).encode() + b"\n")
        await answered(connector, worker, times=2)
        output, _ = await worker.communicate()
    said = json.loads(output)
    posted, *rest = said["answers"]
    assert posted["status"] in ("200", "202")
    assert rest == [{}, {"failed": "UnreadableMessageError: the message: json_invalid"}, {}]
    assert said["functions"] == {
        "messages": ["api/messages", None],
        "health": ["api/health", None],
        "health_dependencies": ["api/health/dependencies", None],
        "resume_turn": [None],
        "delete_old_conversations": [None],
    }
    assert said["directories"] == [str(package.folder)]


@pytest.mark.slow
def test_tracebacks_name_the_deployed_files(unpacked: Path) -> None:
    files = list(unpacked.rglob("*.pyc"))
    assert len(files) > 1000
    for file in files:
        source = file.parent.parent / f"{file.name.partition('.')[0]}.py"
        code = marshal.loads(file.read_bytes()[16:])
        assert code.co_filename == f"/home/site/wwwroot/{source.relative_to(unpacked).as_posix()}"
