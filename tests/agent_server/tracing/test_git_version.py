from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent_server.tracing.git_version import git_commit

COMMIT = "0123456789abcdef" * 2 + "01234567"


def test_the_uploaded_folders_file_names_the_commit(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(f'{{"commit": "{COMMIT}+"}}')

    assert git_commit({}, tmp_path / "build.json") == f"{COMMIT}+"


def test_a_repository_names_its_own_commit(tmp_path: Path) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), (*who, "commit", "-q", "--allow-empty", "-m", "First")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert len(head.stdout.strip()) == 40
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    assert git_commit(path, tmp_path / "build.json") == head.stdout.strip()


@pytest.mark.parametrize("written", [None, "", '{"commit": "main"}', '{"build": "0123456789ab"}'])
def test_without_a_commit_or_git_there_is_none(tmp_path: Path, written: str | None) -> None:
    if written is not None:
        (tmp_path / "build.json").write_text(written, encoding="latin-1")

    assert git_commit({"PATH": "", "GIT_CEILING_DIRECTORIES": "/"}, tmp_path / "build.json") == ""
