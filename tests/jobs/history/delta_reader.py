"""Delta tables, read by DuckDB, which shares no code with what writes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import duckdb


def read_delta(table: Path) -> list[dict[str, Any]]:
    package = importlib.util.find_spec("duckdb_extension_delta")
    assert package is not None
    [folder] = package.submodule_search_locations or []
    [extension] = Path(folder).rglob("delta.duckdb_extension")
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension}'")
        found = connection.execute("SELECT * FROM delta_scan(?)", [str(table)])
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
