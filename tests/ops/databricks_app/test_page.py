"""The page is built once for each state of its sources."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ops.databricks_app import AppError
from ops.databricks_app.page import PAGE, SOURCES, build_page

# As npm: notes what it is asked, installs, builds; fails where the sources say so.
NPM = """#!/bin/sh
echo "$1" >> calls
if [ -f fails ]; then echo "error TS2304: Cannot find name"; exit 1; fi
if [ "$1" = ci ]; then mkdir -p node_modules; touch node_modules/.package-lock.json; fi
if [ "$1" = run ]; then mkdir -p dist; echo "<!doctype html>" > dist/index.html; fi
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="npm is a shell script here")


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources = root / SOURCES
        self.said: list[str] = []
        (self.sources / "src").mkdir(parents=True)
        (self.sources / "package-lock.json").write_text("{}")
        (self.sources / "src/main.tsx").write_text("1")

    def build(self) -> bool:
        return build_page(self.root, self.said.append)

    def calls(self) -> list[str]:
        """Since the last time."""
        file = self.sources / "calls"
        if not file.exists():
            return []
        calls = file.read_text().split()
        file.unlink()
        return calls


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/npm").write_text(NPM)
    (tmp_path / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/bin{os.pathsep}/usr/bin")
    return Project(tmp_path / "project")


def test_it_is_installed_and_built_and_then_left_alone(project: Project) -> None:
    assert project.build()
    assert project.calls() == ["ci", "run"]
    assert (project.root / PAGE / "index.html").is_file()
    assert project.build()
    assert project.calls() == []


def test_a_changed_source_is_built_and_a_changed_lock_is_installed_too(project: Project) -> None:
    project.build()
    project.calls()
    (project.sources / "src/main.tsx").write_text("2")
    project.build()
    assert project.calls() == ["run"]
    (project.sources / "package-lock.json").write_text('{"lockfileVersion": 3}')
    later = (project.sources / "node_modules/.package-lock.json").stat().st_mtime + 10
    os.utime(project.sources / "package-lock.json", (later, later))
    project.build()
    assert project.calls() == ["ci", "run"]


def test_what_npm_says_is_quoted_and_tried_again(project: Project) -> None:
    (project.sources / "fails").touch()
    with pytest.raises(AppError, match=r"npm ci failed in agent_server/ui:\nerror TS2304: Cannot find name"):
        project.build()
    (project.sources / "fails").unlink()
    assert project.build()


def test_without_npm_only_a_page_that_was_built_before_is_there(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.build()
    (project.sources / "src/main.tsx").write_text("2")
    monkeypatch.setenv("PATH", "")
    assert project.build()
    shutil.rmtree(project.root / PAGE)
    assert not project.build()
    assert project.said[-1] == "npm was not found: install Node.js 22 to build the page."


def test_where_there_are_no_sources_nothing_is_built(project: Project) -> None:
    shutil.rmtree(project.sources)
    assert not project.build()
    assert project.calls() == []
