"""The command `job-watch`."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import aiohttp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.jobs.cli import main
from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords
from app.local.job_plans import SUCCESS, TaskPlan, cluster_failure, in_turn
from app.storage.factory import open_storage
from tests.fakes.job_service import job_service
from tests.fakes.serving_endpoint import TOKEN
from tests.jobs.history.sample_records import a_record

ROOT = Path(__file__).resolve().parents[2]
HOST = "https://adb-1.azuredatabricks.net"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command finds its settings: a folder with a `.env` and a store."""
    monkeypatch.chdir(tmp_path)
    watch = ("JOB_WATCH_STORE", "JOB_WATCH_MODE", "JOB_WATCH_SAFE")
    for name in ("DATABRICKS_BASE_URL", "DATABRICKS_HOST", "DATABRICKS_TOKEN", *watch):
        # Empty is as good as left out, and what the command adds is taken back.
        monkeypatch.setenv(name, "")
    file = tmp_path / "incidents.sqlite"
    (tmp_path / ".env").write_text(f"DATABRICKS_HOST={HOST}\nDATABRICKS_TOKEN=t\nJOB_WATCH_STORE={file}\n")
    return file


@pytest.mark.parametrize("arguments", [["approve", "p-1"], ["history"]])
def test_without_a_store_there_is_nothing_to_approve_or_read(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (store.parent / ".env").write_text(f"DATABRICKS_HOST={HOST}\nDATABRICKS_TOKEN=t\n")
    assert main(arguments) == 1
    assert "JOB_WATCH_STORE" in capsys.readouterr().err


def recorded(file: Path, *records: DecisionRecord) -> None:
    async def store_them() -> None:
        storage = open_storage(file)
        for each in records:
            assert await DecisionRecords(storage.documents, workspace=HOST).add(each)
        await storage.close()

    asyncio.run(store_them())


def test_the_history_is_printed_or_written_whole(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    recorded(
        store,
        a_record(1, now - 3600, job_id=11),
        a_record(2, now - 40 * 24 * 3600, job_id=11),
        a_record(3, now - 60, job_id=12),
    )
    assert main(["history", "--format", "json"]) == 0
    assert [row["run_id"] for row in json.loads(capsys.readouterr().out)] == [1, 3]
    assert main(["history", "--format", "json", "--days", "90", "--job", "11"]) == 0
    assert [row["run_id"] for row in json.loads(capsys.readouterr().out)] == [2, 1]
    assert main(["history", "--output", "history.csv"]) == 0
    with (store.parent / "history.csv").open(newline="", encoding="utf-8") as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == ["1", "3"]
    assert capsys.readouterr().out == ""
    assert main(["history", "--output", "/nowhere/history.csv"]) == 1
    assert main(["history", "--format", "delta"]) == 1
    assert "put --output" in capsys.readouterr().err


def test_the_dashboard_is_one_page_in_a_file(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(store, a_record(1, time.time() - 3600, job_name="nightly_etl"))
    assert main(["dashboard"]) == 0
    page = (store.parent / "job_watch.html").read_text(encoding="utf-8")
    assert "nightly_etl" in page
    assert HOST in page
    assert main(["dashboard", "--output", "/nowhere/page.html"]) == 1
    assert "could not be written" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")
async def test_events_are_served_to_programs_with_the_token_until_sigterm(store: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = "import sys; from app.jobs.cli import main; sys.exit(main(['serve', '--port', '0']))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=store.parent, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            said = (await process.stderr.readline()).decode()
            url = said.removeprefix("Events are at ").rstrip(".\n")
            token = (await process.stderr.readline()).decode().rpartition(" ")[2].strip()
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
                assert (await socket.receive_json())["type"] == "hello"
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("days", ["0", "401", "x", "-1", "1e2", "٣"])
def test_days_are_a_number_within_limits(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["history", f"--days={days}"])
    assert "from 1 to 400" in capsys.readouterr().err


def test_settings_that_are_wrong_are_said_without_a_traceback(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store.parent / ".env").write_text("DATABRICKS_TOKEN=t\nSMTP_PORT=x\n")
    assert main(["approve", "p-1"]) == 2
    said = capsys.readouterr().err
    assert "DATABRICKS_HOST: missing" in said
    assert "SMTP_PORT: not valid" in said


@pytest.mark.parametrize("arguments", [[], ["watch"], ["approve"], ["approve", "a", "b"]])
def test_wrong_arguments_are_said_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: job-watch")


def _closure(names: list[str]) -> Iterator[str]:
    """Every distribution that these need."""
    found: set[str] = set()
    while names:
        requirement = Requirement(names.pop())
        name = canonicalize_name(requirement.name)
        extras = sorted(requirement.extras) or [""]
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name in found and not requirement.extras:
            continue
        found.add(name)
        yield name
        try:
            needed = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for each in map(Requirement, needed):
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ["", *extras]):
                each.marker = None
                names.append(str(each))


_IMPORTING = """
import sys
allowed = set(sys.argv[1].split(","))

class Blocked:
    def find_spec(self, name, path=None, target=None):
        own = {"app", *allowed, *sys.stdlib_module_names}
        if path is None and name not in own and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not installed by pip install .")
        if name.startswith(("azure.functions", "azure.monitor", "app.bot", "app.local")):
            raise ModuleNotFoundError(f"{name} is not installed by pip install .")

sys.meta_path.insert(0, Blocked())
import importlib, importlib.util, pkgutil, app.jobs
for module in pkgutil.walk_packages(app.jobs.__path__, "app.jobs."):
    importlib.import_module(module.name)
for module in ("azure.data.tables", "azure.identity", "databricks.sdk", "openai", "msal", "aiosmtplib", "dotenv"):
    assert importlib.util.find_spec(module), module
print("imported")
"""


def test_what_pip_installs_is_all_that_the_job_watch_imports() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    installed = set(_closure(list(wanted)))
    assert not {name for name in installed if name.startswith(("botbuilder", "botframework", "azure-functions"))}
    modules = set()
    for name in installed:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            continue
        modules |= {file.parts[0].partition(".")[0] for file in files if file.suffix in {".py", ".so", ".pyd"}}
    process = subprocess.run(
        [sys.executable, "-c", _IMPORTING, ",".join(sorted(modules))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.stdout == "imported\n", process.stderr


async def test_a_pass_proposes_an_approval_repairs_and_the_next_pass_sees_it_green(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with job_service() as jobs:
        jobs.now = time.time() - 2 * 3600
        run_id = jobs.run(
            TaskPlan("load", in_turn(cluster_failure("CLOUD_PROVIDER_SHUTDOWN", "CLOUD_FAILURE"), SUCCESS))
        )
        settings = f"DATABRICKS_TOKEN={TOKEN}\nJOB_WATCH_STORE={store}\nJOB_WATCH_MODE=approve\nJOB_WATCH_SAFE=true\n"
        (store.parent / "settings.env").write_text(settings)
        (store.parent / ".env").unlink()
        command = ["--env-file", "settings.env", "--host", jobs.url]
        assert await asyncio.to_thread(main, [*command, "run", "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        (decision,) = summary["decisions"]
        assert (decision["run_id"], decision["action"]) == (run_id, "proposed")
        assert await asyncio.to_thread(main, [*command, "approve", decision["proposal_id"]]) == 0
        assert "the incident is retrying" in capsys.readouterr().out
        assert await asyncio.to_thread(main, [*command, "approve", decision["proposal_id"]]) == 1
        assert "on the command line has already decided" in capsys.readouterr().err
        assert len(jobs.stand_in.repairs) == 1
        jobs.now += 1800
        assert await asyncio.to_thread(main, [*command, "run"]) == 0
        assert "Nothing new." in capsys.readouterr().out
        assert len(jobs.stand_in.repairs) == 1
