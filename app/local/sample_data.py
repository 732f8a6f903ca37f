"""Real sample data without a cloud: the TPC-H tables of Databricks' own `samples.tpch`, made once by DuckDB."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

SCALE_FACTOR = 0.05
"""300,000 rows in `lineitem`; 14 MB on disk, made in about two seconds."""


class SampleDataNotInstalledError(Exception):
    """`str()` says what to install."""


class SampleDatabase:
    """Opened at the first query, made before that where `file` does not exist. Blocks: ask for it in a thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Reads `samples.tpch`, writes nothing and reads no other file.

        Raises `SampleDataNotInstalledError`.
        """
        with self._lock:
            if self._connection is None:
                if not self._file.exists():
                    make_sample_data(self._file)
                self._connection = _read_only(self._file)
            return self._connection.cursor()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def make_sample_data(file: Path, scale_factor: float = SCALE_FACTOR) -> None:
    """Raises `SampleDataNotInstalledError`."""
    duckdb = _duckdb()
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"LOAD {_quoted(_extension_file())}")
            connection.execute(f"ATTACH {_quoted(unfinished)} AS samples")
            connection.execute("CREATE SCHEMA samples.tpch")
            connection.execute("CALL dbgen(sf = ?, catalog = 'samples', schema = 'tpch')", [scale_factor])
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _read_only(file: Path) -> duckdb.DuckDBPyConnection:
    connection: duckdb.DuckDBPyConnection = _duckdb().connect(":memory:", config={"threads": 1})
    connection.execute(f"ATTACH {_quoted(file)} AS samples (READ_ONLY)")
    connection.execute("USE samples.tpch")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _extension_file() -> Path:
    """Found in its package: DuckDB itself would download it."""
    package = importlib.util.find_spec("duckdb_extension_tpch")
    for folder in (package.submodule_search_locations or []) if package else []:
        for file in sorted(Path(folder).rglob("tpch.duckdb_extension")):
            return file
    raise SampleDataNotInstalledError(
        "The sample data's generator is not installed: pip install --no-deps -r app/local/requirements.txt."
    )


def _duckdb() -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("duckdb")
    except ImportError as error:
        raise SampleDataNotInstalledError(f"DuckDB cannot be loaded here: {error}") from error


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
