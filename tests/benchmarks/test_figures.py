"""What a test measures is shown at the end, though the test passed, and in whichever process it ran."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
def test_that_measures(figure):
    figure("one to seven")
"""


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["in this process", "in another"])
def test_a_figure_is_shown_though_its_test_passed(tmp_path: Path, processes: list[str]) -> None:
    (tmp_path / "conftest.py").write_bytes((Path(__file__).parents[1] / "conftest.py").read_bytes())
    (tmp_path / "test_measured.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", *processes, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert run.stdout.count("one to seven") == 1, run.stdout + run.stderr
