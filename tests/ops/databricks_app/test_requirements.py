"""What the agent server imports is what its lock installs and what is uploaded."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from ops.databricks_app.folder import LOCK
from ops.package.dependencies import read_lock
from tests.ops.files.deployments import ROOT

IMPORTING = """
import sys
allowed = {"app", "agent_server", *sys.argv[1].split(","), *sys.stdlib_module_names}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        known = path is not None or name in allowed or name.startswith("_sysconfigdata")
        if not known or f"{name}.".startswith(("app.bot.", "app.local.")):
            raise ModuleNotFoundError(f"{name} is not in the app")

sys.meta_path.insert(0, Blocked())
import importlib, importlib.util, pkgutil, agent_server
for module in pkgutil.walk_packages(agent_server.__path__, "agent_server."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in ("mlflow", "mcp", "asyncpg", "duckdb", "sqlglot", "openai", "databricks", "aiosmtplib", "httpx"):
    assert importlib.util.find_spec(name), name
print("imported")
"""


@pytest.mark.slow
@pytest.mark.proof
def test_every_module_imports_with_the_lock_alone_and_without_the_bot() -> None:
    modules = set()
    for requirement, _ in read_lock(ROOT / LOCK):
        try:
            files = distribution(requirement.name).files or []
        except PackageNotFoundError:
            continue
        modules |= {file.parts[0].partition(".")[0] for file in files if file.suffix in {".py", ".so", ".pyd"}}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING, ",".join(sorted(modules))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.endswith("imported\n"), done.stderr


def test_uv_run_finds_the_command_and_what_it_needs() -> None:
    """`uv run agent-server` syncs the default groups, and no extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (needed,) = project["dependency-groups"]["agent-server"]
    assert project["tool"]["uv"]["default-groups"] == ["agent-server"]
    assert needed == f"{project['project']['name']}[agent-server]"
    assert "agent-server" in project["project"]["optional-dependencies"]
