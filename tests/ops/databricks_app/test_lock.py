"""uv.lock of the uploaded folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.databricks_app import AppError
from ops.databricks_app.lock import check_hashes, public

PATH = f"/packages/ab/cd/{'e' * 60}/thing-1-py3-none-any.whl"


def lock(registry: str, url: str, digest: str = "1") -> str:
    return f"""version = 1
[[package]]
name = "app"
version = "0.1.0"
source = {{ editable = "." }}

[[package]]
name = "thing"
version = "1"
source = {{ registry = "{registry}" }}
wheels = [
    {{ url = "{url}", hash = "sha256:{digest}", size = 1 }},
]
"""


PUBLIC = lock("https://pypi.org/simple", f"https://files.pythonhosted.org{PATH}")


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("https://pypi.org/simple", f"https://files.pythonhosted.org{PATH}"),
        ("https://mirror.example.com/simple", f"https://mirror.example.com{PATH}"),
        ("https://mirror.example.com/api/pypi/simple/", f"https://mirror.example.com/api/pypi/pypi{PATH}"),
        ("http://127.0.0.1:3141/root/pypi/+simple/", f"https://files.pythonhosted.org{PATH}"),
    ],
)
def test_a_mirror_of_this_machine_does_not_get_into_the_lock(registry: str, url: str) -> None:
    assert public(lock(registry, url)) == PUBLIC


def test_a_file_that_only_a_private_index_has_is_refused() -> None:
    with pytest.raises(AppError, match=r"names a file at private\.example\.com"):
        public(lock("https://pypi.org/simple", "https://private.example.com/thing-1-py3-none-any.whl"))


def requirements(folder: Path, text: str) -> Path:
    file = folder / "requirements.txt"
    file.write_text(text)
    return file


def test_the_files_are_those_of_the_requirements(tmp_path: Path) -> None:
    check_hashes(PUBLIC, requirements(tmp_path, "thing==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"))


@pytest.mark.parametrize("text", ["thing==1 --hash=sha256:2\n", "thing==2 --hash=sha256:1\n", ""])
def test_another_file_than_that_of_the_requirements_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(AppError, match=r"other files of thing 1 than requirements\.txt"):
        check_hashes(PUBLIC, requirements(tmp_path, text))
