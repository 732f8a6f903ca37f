from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops import uv_install
from ops.uv_install import install_with_uv

LOCK = Path(__file__).resolve().parents[2] / "requirements-dev.txt"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would install something; they succeed."""
    made: list[list[str]] = []
    real = subprocess.run

    def run(command: list[str | Path], **more: object) -> object:
        words = [str(word) for word in command]
        if "install" not in words:
            return real(command, **more)  # type: ignore[call-overload]
        if "-r" in words:
            words.append(Path(words[words.index("-r") + 1]).read_text(encoding="utf-8").partition("\n")[0])
        made.append(words)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return made


def test_a_lock_is_installed_with_its_hashes_and_nothing_else(calls: list[list[str]], tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("thing==1 --hash=sha256:1\n")
    assert install_with_uv(Path(sys.executable), lock)
    assert {"--require-hashes", "--no-deps", "--system-certs", "thing==1 --hash=sha256:1"} <= set(calls[-1])


def test_uv_itself_is_the_one_of_the_lock(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("")
    real = uv_install._succeeds
    monkeypatch.setattr(uv_install, "_succeeds", lambda command, *more: "import uv" not in command and real(command))
    assert install_with_uv(Path(sys.executable), lock)
    (pinned,) = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line.startswith("uv==")]
    assert calls[0][-1] == pinned
    assert "--require-hashes" in calls[0]


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "PIP_NO_INDEX"])
def test_who_names_an_index_of_their_own_gets_everything_from_there(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "https://index.example.com/simple" if name == "PIP_INDEX_URL" else "1")
    assert not install_with_uv(Path(sys.executable), LOCK)
    assert calls == []
