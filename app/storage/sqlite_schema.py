"""The tables of the SQLite store, and how an older file becomes one of today."""

from __future__ import annotations

import sqlite3

VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS message (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  position INTEGER NOT NULL,
  role TEXT NOT NULL,
  text TEXT NOT NULL,
  complete INTEGER NOT NULL,
  written REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, conversation, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turn (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
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
  PRIMARY KEY (tenant, conversation, activity)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS turn_in_order ON turn (tenant, conversation, ticket);
"""


def prepare(connection: sqlite3.Connection, now: float) -> None:
    """Makes the tables, or adds to older ones what they lack."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version >= VERSION:
        return
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(message)")}
    if columns and "written" not in columns:
        connection.execute("ALTER TABLE message ADD COLUMN written REAL NOT NULL DEFAULT 0")
        # Its age is not known: it counts from today.
        connection.execute("UPDATE message SET written = ?", (now,))
    connection.executescript(_TABLES)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.commit()
