"""The package runs: unpacked into an empty folder, with nothing else to import from."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import marshal
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from azure.data.tables.aio import TableClient

from app.storage.factory import CONVERSATIONS_TABLE
from app.storage.queue_encoding import encode_message
from ops.package import start
from ops.package.build import Package, make_package
from tests.fakes.azurite import Azurite
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


@pytest.mark.proof
async def test_the_unpacked_zip_answers_a_turn_and_writes_nothing_into_its_folder(
    package: Package, unpacked: Path
) -> None:
    before = content_of(unpacked)
    served = await ask_once(unpacked)
    assert served.health["build"] == package.build
    assert served.health["version"] == package.version
    assert content_of(unpacked) == before
    assert served.compiled == [], "a cold start would compile it"


@pytest.mark.slow
async def test_the_unpacked_zip_answers_a_turn_on_a_storage_account(unpacked: Path, azurite: Azurite) -> None:
    served = await ask_once(unpacked, storage=azurite.connection_string)
    async with TableClient.from_connection_string(azurite.connection_string, CONVERSATIONS_TABLE) as table:
        kept = [row async for row in table.list_entities()]
    assert any("Hello" in str(value) for row in kept for value in row.values()), kept
    assert [name for name in served.kept_in_files if name.endswith(".sqlite")] == []


@pytest.mark.slow
@pytest.mark.proof
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


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="a package runs on Linux")
def test_the_delivered_zip_is_started_and_answers_as_its_build(
    package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABRICKS_BASE_URL", "not the package's")
    assert start.main([str(package.zip)]) == 0, capsys.readouterr().err
    python = sysconfig.get_python_version()
    said = f"{package.zip} starts on Python {python} and answers as build {package.build}.\n"
    assert capsys.readouterr().out == said


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
            ("process_queue_message", encode_message(interrupted(question(connector, 2)))),
            ("process_queue_message", "neither a turn nor JSON"),
            # Of a message without a correlation id nothing but a line is left.
            ("foundry_ask", '{"id": "theirs", "insertionTime": "yesterday"}'),
            ("process_foundry_request_poison", '{"id": "theirs", "insertionTime": "yesterday"}'),
            ("delete_expired", timer),
            ("ask_scheduled_questions", timer),
        ]
        worker.stdin.write(json.dumps(invoked).encode() + b"\n")
        await answered(connector, worker, times=2)
        output, _ = await worker.communicate()
    said = json.loads(output)
    posted, *rest = said["answers"]
    assert posted["status"] in ("200", "202")
    assert rest == [{}, {"failed": "UnreadableMessageError: the message: json_invalid"}, {}, {}, {}, {}]
    assert said["functions"] == {
        "messages": ["api/messages", None],
        "health": ["api/health", None],
        "health_dependencies": ["api/health/dependencies", None],
        "process_queue_message": [None],
        "delete_expired": [None],
        "ask_scheduled_questions": [None],
        "process_foundry_request": [None],
        "process_foundry_request_poison": [None],
        "mcp": ["api/mcp", None],
        **{f"foundry_{tool}{end}": [None] for tool in ("ask", "ask_data", "diagnose_job") for end in ("", "_poison")},
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
