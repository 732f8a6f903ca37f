"""What was made is compared to the letter with a file. UPDATE_GOLDEN=1 writes the files anew: read them."""

from __future__ import annotations

import json
import os
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"


def assert_golden(name: str, made: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8")


def assert_golden_json(name: str, made: object) -> None:
    assert_golden(name, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
