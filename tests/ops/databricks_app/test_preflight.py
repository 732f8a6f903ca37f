"""dev.py preflight: what it says, and the whole of it with the real requirements."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.databricks_app import AppError, preflight
from ops.databricks_app.bundle import AppBundle
from ops.databricks_app.folder import AppFolder
from ops.databricks_app.preflight import main
from tests.fakes.packaging import track
from tests.ops.files.deployments import ROOT


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the files, whatever somebody is working on here."""
    root = tmp_path_factory.mktemp("project")
    whole = [*(ROOT / "agent_server").glob("*.*"), *(ROOT / "agent_server/http").glob("*.py")]
    others = ("pyproject.toml", "app/turns/runner.py", "app/bot/handler.py", "app/local/run.py", "function_app.py")
    for file in [*(each.relative_to(ROOT) for each in whole), *map(Path, others)]:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    track(root)
    return root


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No page, no lock, no start; the commands that would have been started."""
    started: list[str] = []

    async def start(bundle: AppBundle, folder: AppFolder) -> None:
        started.append(" ".join(bundle.command))

    monkeypatch.setattr(preflight, "build_page", lambda root, say: False)
    monkeypatch.setattr(preflight, "write_lock", lambda root, folder: (folder / "uv.lock").write_text(""))
    monkeypatch.setattr(preflight, "start_and_ask", start)
    return started


def test_no_variable_is_needed_and_the_folder_is_complete(
    quick: list[str], project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path / "app")], project) == 0
    assert quick == ["uv run --frozen agent-server"]
    names = {each.name for each in (tmp_path / "app").iterdir()}
    assert names == {
        *("app", "agent_server"),
        *("app.yaml", "app_resources.json", "build.json", "databricks.yml", "pyproject.toml", "uv.lock"),
    }
    out = capsys.readouterr().out
    assert "The page is not part of it" in out
    assert f"build {json.loads((tmp_path / 'app/build.json').read_text())['build']}, commit " in out
    assert out.endswith("It is ready to be deployed.\n")


def test_nothing_of_the_bot_or_of_this_machine_is_uploaded(quick: list[str], project: Path, tmp_path: Path) -> None:
    main(["--output", str(tmp_path / "app")], project)
    files = {each.relative_to(tmp_path / "app").as_posix() for each in (tmp_path / "app").rglob("*")}
    assert "app/turns/runner.py" in files
    assert "agent_server/cli.py" in files
    assert not {file for file in files if file.startswith(("app/bot/", "app/local/", "agent_server/ui/", "tests"))}
    assert not {"function_app.py", "host.json", "requirements.txt", "package.json", "dev.py"} & files


@pytest.mark.parametrize("error", ["no lock", "no text"])
def test_a_failure_is_said_and_ends_with_1(
    quick: list[str],
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: str,
) -> None:
    def refuse(*_: object) -> None:
        raise AppError(error)

    async def refuse_later(*_: object) -> None:
        refuse()

    if error == "no lock":
        monkeypatch.setattr(preflight, "write_lock", refuse)
    else:
        monkeypatch.setattr(preflight, "start_and_ask", refuse_later)
    assert main(["--output", str(tmp_path / "app")], project) == 1
    captured = capsys.readouterr()
    assert captured.err == f"{error}\n"
    assert "ready to be deployed" not in captured.out


@pytest.mark.slow
@pytest.mark.proof
def test_the_folder_starts_alone_with_its_locked_requirements_and_answers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.databricks_app.preflight", "--output", str(tmp_path / "app")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    if "could not lock" in done.stderr or "Failed to fetch" in done.stderr:
        pytest.skip(f"the package index does not answer: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr + done.stdout
    said = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert said == ["installed", "healthy", "/invocations", "/responses", "stopped"]
