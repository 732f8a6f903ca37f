"""`python -m ops.check` as a whole: one broken file is one line, not a crowd that hides it."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import pytest

from ops.check.__main__ import CHECKS, problems
from tests.fakes.pristine import as_delivered

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

FOLDERS = (".ci", ".github", "app", "appPackage", "docs", "env", "infra", "ops")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the checks read, without what a developer has of their own."""
    own = shutil.ignore_patterns("build", "*.user", "__pycache__", "node_modules", "local.settings.json", ".env")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=own)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != "local.settings.json":
            shutil.copy(path, tmp_path)
    return as_delivered(tmp_path)


@cache
def had() -> frozenset[str]:
    """What is wrong with the repository itself is for other tests to say."""
    return frozenset(str(problem) for problem in problems(ROOT, CHECKS))


def said(root: Path) -> list[str]:
    return [str(problem) for problem in problems(root, CHECKS) if str(problem) not in had()]


def write(root: Path, name: str, text: str, encoding: str = "utf-8") -> None:
    (root / name).write_bytes(text.encode(encoding))


@pytest.mark.parametrize("text", ["5", "[]", "\n  - uses: teamsApp/creat"])
@pytest.mark.parametrize("lifecycle", ["provision", "deploy"])
def test_a_lifecycle_that_is_none_is_one_line(copy: Path, lifecycle: str, text: str) -> None:
    lines = (copy / "m365agents.yml").read_text(encoding="utf-8").splitlines()
    begin = lines.index(f"{lifecycle}:")
    end = next(number for number in range(begin + 1, len(lines)) if lines[number] and lines[number][0] not in " #")
    write(copy, "m365agents.yml", "\n".join([*lines[:begin], f"{lifecycle}: {text}", *lines[end:]]))
    found = said(copy)
    assert len(found) == 1, "\n".join(found)
    assert found[0].startswith(f"m365agents.yml:{begin + 1 + text.count(chr(10))}: {lifecycle}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("appPackage/manifest.json", ""),
        ("appPackage/manifest.json", "{"),
        ("appPackage/fr.json", "{"),
        ("infra/azure.parameters.json", "{"),
        ("infra/azure.parameters.json", "[]"),
        ("m365agents.yml", ""),
        ("m365agents.yml", "version: [\n"),
        ("m365agents.yml", "version: v9\n"),
        ("m365agents.playground.yml", "version: v1.11\n"),
        ("env/.env.dev", ""),
        ("env/.env.local", "\n# nothing\n"),
    ],
)
def test_a_file_that_is_none_is_one_line(copy: Path, name: str, text: str) -> None:
    write(copy, name, text)
    found = said(copy)
    assert len(found) == 1, "\n".join(found)
    assert found[0].startswith(f"{name}:")


@pytest.mark.parametrize("name", ["env/.env.dev", "env/.env.local", "env/.env.dev.user", "m365agents.yml"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_file_in_another_encoding_is_one_line(copy: Path, name: str, encoding: str) -> None:
    source = copy / name
    write(copy, name, source.read_text(encoding="utf-8") if source.exists() else "A=b\n", encoding)
    found = said(copy)
    assert len(found) == 1, "\n".join(found)
    assert found[0].startswith(f"{name}:1: ")


@pytest.mark.parametrize("name", ["env/.env.dev", "env/.env.local"])
def test_a_byte_order_mark_is_read_over_as_the_toolkit_does(copy: Path, name: str) -> None:
    write(copy, name, (copy / name).read_text(encoding="utf-8"), "utf-8-sig")
    assert said(copy) == []


def test_a_manifest_that_is_none_is_told_in_its_own_lines(copy: Path) -> None:
    write(copy, "appPackage/manifest.json", "[]")
    assert {line.partition(":")[0] for line in said(copy)} == {"appPackage/manifest.json"}


def test_a_manifest_without_its_developer_is_not_told_by_the_variables_that_nobody_reads_now(copy: Path) -> None:
    name = "appPackage/manifest.json"
    manifest = json.loads((copy / name).read_text(encoding="utf-8"))
    assert "${{DEVELOPER_NAME}}" in json.dumps(manifest.pop("developer"))
    write(copy, name, json.dumps(manifest, indent=2, ensure_ascii=False))
    assert {line.partition(":")[0] for line in said(copy)} == {name}


def test_parameters_that_end_too_early_are_not_told_by_the_variables_that_nobody_reads_now(copy: Path) -> None:
    name = "infra/azure.parameters.json"
    text = (copy / name).read_text(encoding="utf-8")
    last = text.rindex('    "databricksModelName"')
    more = '    "alertEmail": {"value": "${{ALERT_EMAIL}}"},\n'
    environment = (copy / "env/.env.dev").read_text(encoding="utf-8")
    write(copy, "env/.env.dev", f"{environment}ALERT_EMAIL=a@example.com\n")
    write(copy, name, text[:last] + more + text[last:])
    assert said(copy) == []
    write(copy, name, text[:last])
    found = said(copy)
    assert len(found) == 1, "\n".join(found)
    assert found[0].startswith(f"{name}:")
