"""The tables of the SQLite engine, and how an older file becomes one of today."""

from __future__ import annotations

import sqlite3
import time

VERSION = 3
# In seconds.
_LONGEST_WAIT = 10.0
_BETWEEN_TRIES = 0.02

_NAMES = ("message", "turn", "record", "queued")
_TABLES = """
CREATE TABLE message (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  thread TEXT NOT NULL,
  position INTEGER NOT NULL,
  role TEXT NOT NULL,
  text TEXT NOT NULL,
  complete INTEGER NOT NULL,
  written REAL NOT NULL,
  PRIMARY KEY (tenant, conversation, thread, position)
) WITHOUT ROWID;
CREATE TABLE turn (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  thread TEXT NOT NULL,
  activity TEXT NOT NULL,
  ticket INTEGER NOT NULL,
  state TEXT NOT NULL,
  owner TEXT NOT NULL,
  lease_until REAL NOT NULL,
  tries INTEGER NOT NULL,
  begun TEXT NOT NULL,
  shown TEXT NOT NULL,
  version INTEGER NOT NULL,
  written REAL NOT NULL,
  started INTEGER NOT NULL,
  PRIMARY KEY (tenant, conversation, thread, activity)
) WITHOUT ROWID;
CREATE INDEX turn_in_order ON turn (tenant, conversation, thread, ticket);
CREATE INDEX turn_open ON turn (tenant, conversation, thread, ticket) WHERE state = 'started';
CREATE TABLE record (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  thread TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  version TEXT NOT NULL,
  written REAL NOT NULL,
  PRIMARY KEY (tenant, conversation, thread, name)
) WITHOUT ROWID;
CREATE TABLE queued (
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  body TEXT NOT NULL,
  proof TEXT NOT NULL,
  appears REAL NOT NULL,
  expires REAL NOT NULL,
  tries INTEGER NOT NULL,
  PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX queued_in_order ON queued (queue, appears);
"""


def prepare(connection: sqlite3.Connection, now: float) -> None:
    """Makes the tables, or turns older ones into today's: all of them or none."""
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    if _version(connection) >= VERSION:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been faster.
        if _version(connection) < VERSION:
            _renew(connection, now)


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for a lock here, as it does everywhere else: another may be opening the same new file."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_BETWEEN_TRIES)


def _renew(connection: sqlite3.Connection, now: float) -> None:
    older = {table: columns for table in _NAMES if (columns := _columns(connection, table))}
    for index in ("turn_in_order", "turn_open", "queued_in_order"):
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    for table in older:
        connection.execute(f"ALTER TABLE {table} RENAME TO older_{table}")
    # Not executescript, which would commit first.
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    # Nothing said how old a message of the first version is: it counts from today.
    missing = {"thread": "", "written": now, "started": 1}
    for table, columns in older.items():
        names = _columns(connection, table)
        copied = ", ".join(name if name in columns else f":{name}" for name in names)
        connection.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {copied} FROM older_{table}", missing)  # noqa: S608
        connection.execute(f"DROP TABLE older_{table}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
