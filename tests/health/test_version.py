"""What health says is running."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from app.health.health import Health
from app.version import BUILD_FILE, VERSION, read_build, read_git_commit

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_a_build_is_written_beside_the_function_app() -> None:
    assert BUILD_FILE.parent == ROOT


@pytest.mark.parametrize(
    ("content", "build"),
    [
        (None, "local"),
        (json.dumps({"version": "0.1.0", "build": "0123456789ab"}).encode(), "0123456789ab"),
        (b'\xef\xbb\xbf{"build": "0123456789ab"}', "0123456789ab"),
        (b'{"version": "0.1.0"}', "unknown"),
        (b'{"build": 123456789012}', "unknown"),
        (b'{"build": "0123456789ab\\n"}', "unknown"),
        (b'{"build": "<script>alert(1)</script>"}', "unknown"),
        (b'["0123456789ab"]', "unknown"),
        (b"{", "unknown"),
        (b"", "unknown"),
        (b"\xff\xfe\xfa", "unknown"),
        (b"[" * 100_000, "unknown"),
    ],
)
def test_a_build_is_read_or_unknown_and_never_a_crash(tmp_path: Path, content: bytes | None, build: str) -> None:
    file = tmp_path / "build.json"
    if content is not None:
        file.write_bytes(content)
    assert read_build(file) == build


def test_a_build_that_cannot_be_opened_is_unknown(tmp_path: Path) -> None:
    assert read_build(tmp_path) == "unknown"


def test_the_build_is_read_once() -> None:
    read: list[str] = []

    def build() -> str:
        read.append("read")
        return "0123456789ab"

    health = Health(None, read_build=build)
    for _ in range(3):
        assert json.loads(health.answer("GET").body)["build"] == "0123456789ab"
    assert read == ["read"]


@pytest.mark.parametrize(
    ("content", "commit"),
    [
        ({"commit": "a" * 40}, "a" * 40),
        ({"commit": "a" * 40 + "+"}, "a" * 40 + "+"),
        ({"commit": ""}, "unknown"),
        ({"build": "123456789abc"}, "unknown"),
    ],
)
def test_the_commit_is_that_of_the_build_file(tmp_path: Path, content: dict[str, str], commit: str) -> None:
    file = tmp_path / "build.json"
    file.write_text(json.dumps(content))
    assert read_git_commit(file) == commit
    assert read_git_commit(tmp_path / "none.json") == "local"
