"""The picture of the house is that of its imports."""

from __future__ import annotations

from pathlib import Path

from ops.architecture_page import PACKAGES, architecture_page, imports_between_rooms, without_implied


def test_an_arrow_that_a_longer_way_says_already_is_not_drawn() -> None:
    imports = {"bot": frozenset({"turns", "agent"}), "turns": frozenset({"agent"}), "agent": frozenset[str]()}
    assert without_implied(imports) == {**imports, "bot": frozenset({"turns"})}


def test_a_page_with_the_picture_of_other_imports_is_said_to_be_old(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    assert "agent" in imports_between_rooms(root)["turns"]
    (tmp_path / "docs").mkdir()
    page = (root / "docs/architecture.md").read_text(encoding="utf-8")
    old = page.replace("turns --> ", "turns --> nothing_")
    (tmp_path / "docs/architecture.md").write_text(old)
    for package in PACKAGES:
        (tmp_path / package).symlink_to(root / package)
    assert architecture_page(tmp_path) != old
