"""`pip install .` in an empty environment, from the package index that pip is told of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import importlib.util, pkgutil, app.jobs
installed = {"botbuilder", "botframework", "mcp"} & {each.name for each in pkgutil.iter_modules()}
print(*installed, *(name for name in ("azure.functions", "app.local") if importlib.util.find_spec(name)))
print(app.jobs.DatabricksAgent, app.jobs.ErrorDecisionEngine, app.jobs.AzureOpenAIClient)
print(app.jobs.DatabricksConnector, app.jobs.EmailNotifier, app.jobs.DECISION_SCHEMA)
"""


@pytest.mark.slow
@pytest.mark.proof
def test_an_empty_environment_gets_the_job_watch_and_its_command_without_the_bot(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(ROOT / "pyproject.toml", source)
    shutil.copytree(ROOT / "app", source / "app", ignore=shutil.ignore_patterns("__pycache__"))
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    programs = environment / ("Scripts" if sys.platform == "win32" else "bin")
    outside = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(programs / "python", "-m", "pip", "install", "--quiet", source)
    bot, *classes = run(programs / "python", "-c", _PROGRAM).splitlines()
    assert bot == ""
    assert len(classes) == 2
    help_text = run(programs / "job-watch", "--help")
    assert all(command in help_text for command in ("run", "approve", "history", "dashboard", "serve"))
