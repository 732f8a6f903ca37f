"""Cards against Microsoft's own types: the compiler refuses misspelt properties and values of a wrong type."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.npm import npm_installed

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "blocks"
OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--pretty", "false"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install the compiler with"),
]


def compiled(source: str, folder: Path) -> str:
    """What the compiler has against cards."""
    lock = ROOT / "tests" / "npm" / "teamscards"
    packages = npm_installed(ROOT / ".data" / "teamscards", "@microsoft/teams.cards", lock).parents[1]
    (folder / "node_modules").symlink_to(packages, target_is_directory=True)
    (folder / "cards.ts").write_text(source, encoding="utf-8")
    node, tsc = shutil.which("node"), str(packages / "typescript" / "bin" / "tsc")
    assert node
    ended = subprocess.run([node, tsc, *OPTIONS, "cards.ts"], cwd=folder, capture_output=True, text=True, timeout=300)
    return ended.stdout + ended.stderr


def source_of(cards: dict[str, str]) -> str:
    lines = [f"export const {name}: IAdaptiveCard = {card};" for name, card in cards.items()]
    return "\n".join(['import type { IAdaptiveCard } from "@microsoft/teams.cards";', *lines])


def golden_cards() -> dict[str, str]:
    return {file.name.partition(".")[0]: file.read_text(encoding="utf-8") for file in GOLDEN.glob("*.card.json")}


def test_every_golden_card_is_of_the_types_of_teams_cards(tmp_path: Path) -> None:
    cards = golden_cards()
    assert len(cards) > 10
    assert compiled(source_of(cards), tmp_path) == ""


def test_a_misspelt_property_of_a_chart_is_refused(tmp_path: Path) -> None:
    card = json.dumps(json.loads(golden_cards()["chart_line"])).replace('"xAxisTitle"', '"xAxistitle"')
    assert "xAxistitle" in compiled(source_of({"card": card}), tmp_path)
