"""uv.lock of the uploaded folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.databricks_app import AppError
from ops.databricks_app.lock import check_hashes

LOCK = """version = 1
[[package]]
name = "app"
version = "0.1.0"
source = { editable = "." }

[[package]]
name = "thing"
version = "1"
source = { registry = "https://index.example.com/simple" }
wheels = [
    { url = "https://index.example.com/thing-1-py3-none-any.whl", hash = "sha256:1", size = 1 },
]
"""


def requirements(folder: Path, text: str) -> Path:
    file = folder / "requirements.txt"
    file.write_text(text)
    return file


def test_the_files_are_those_of_the_requirements(tmp_path: Path) -> None:
    check_hashes(LOCK, requirements(tmp_path, "thing==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"))


@pytest.mark.parametrize("text", ["thing==1 --hash=sha256:2\n", "thing==2 --hash=sha256:1\n", ""])
def test_another_file_than_that_of_the_requirements_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(AppError, match=r"other files of thing 1 than requirements\.txt"):
        check_hashes(LOCK, requirements(tmp_path, text))
