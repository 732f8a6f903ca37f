"""What the pages point at is there: pages, headings, files and commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.ops.files.deployments import DEV_COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = sorted(str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_FOLDERS = ("app", "ops", "infra", "env", ".github", "tests/faults")
_SOURCES = "".join(
    file.read_text(encoding="utf-8")
    for file in [
        *(file for folder in _FOLDERS for file in sorted((ROOT / folder).rglob("*"))),
        *sorted((ROOT / "agent_server").glob("*.*")),
        *sorted((ROOT / "agent_server").glob("*/*.py")),
    ]
    if file.is_file() and file.suffix in {".py", ".bicep", ".json", ".yml", ".dev", ".local", ".cjs", ".sample"}
)
# Without its page, whose packages have more files than all of the rest.
_AGENT_SERVER = [*(ROOT / "agent_server").glob("*.py"), *(ROOT / "agent_server").glob("*/*.py")]
_SOURCES += "".join(file.read_text(encoding="utf-8") for file in sorted(_AGENT_SERVER))
# Named as what will be there, or as the reader's own.
_MADE_LATER = ("appPackage/build/", "env/.env.prod", "env/.env.local.user", "env/.env.dev.user")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        name = str(file.resolve().relative_to(ROOT))
        if not file.exists() or (anchor and anchor not in anchors(name)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_command_that_a_page_names_is_there(page: str) -> None:
    files = re.findall(r"`((?:infra|appPackage|env|app|ops|tests|docs|\.github)/[\w./-]+\.\w+)`", text(page))
    assert [file for file in files if not (ROOT / file).exists() and not file.startswith(_MADE_LATER)] == []
    assert set(re.findall(r"\b(?:python3?|py) dev\.py ([\w-]+)", text(page))) <= DEV_COMMANDS


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_and_variable_that_a_page_names_is_read_somewhere(page: str) -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", text(page)))
    assert sorted(name for name in named if name not in _SOURCES) == []


def test_the_readme_shows_a_moving_picture_that_is_quick_to_load() -> None:
    (picture,) = re.findall(r"!\[[^\]]+\]\((docs/[^)]+)\)", text("README.md"))
    content = (ROOT / picture).read_bytes()
    assert content.startswith(b"GIF89a")
    assert content.count(b"\x21\xf9\x04") > 10, "it has hardly any frames"
    assert len(content) < 1_000_000
