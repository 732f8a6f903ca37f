"""The tables of the SQLite engine."""

from __future__ import annotations

import sqlite3
import time

from app.storage.storage_errors import StorageError

VERSION = 8
_MAX_WAIT_SECONDS = 10.0
_RETRY_SECONDS = 0.02

_TABLES = """
CREATE TABLE message (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  thread TEXT NOT NULL,
  position INTEGER NOT NULL,
  role TEXT NOT NULL,
  text TEXT NOT NULL,
  complete INTEGER NOT NULL,
  blocks TEXT NOT NULL,
  activity_id TEXT NOT NULL,
  caller TEXT NOT NULL,
  written_at REAL NOT NULL,
  PRIMARY KEY (tenant, conversation, thread, position)
) WITHOUT ROWID;
CREATE TABLE turn (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  thread TEXT NOT NULL,
  activity_id TEXT NOT NULL,
  ticket INTEGER NOT NULL,
  state TEXT NOT NULL,
  owner TEXT NOT NULL,
  lease_until REAL NOT NULL,
  attempt_count INTEGER NOT NULL,
  payload TEXT NOT NULL,
  checkpoint TEXT NOT NULL,
  result TEXT NOT NULL,
  version INTEGER NOT NULL,
  written_at REAL NOT NULL,
  started_ticket INTEGER NOT NULL,
  PRIMARY KEY (tenant, conversation, thread, activity_id)
) WITHOUT ROWID;
CREATE INDEX turn_by_ticket ON turn (tenant, conversation, thread, ticket);
CREATE INDEX open_turn_by_ticket ON turn (tenant, conversation, thread, ticket) WHERE state = 'started';
CREATE INDEX turn_by_started_ticket ON turn (tenant, conversation, thread, started_ticket);
CREATE TABLE queue_message (
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  content TEXT NOT NULL,
  pop_receipt TEXT NOT NULL,
  inserted_at REAL NOT NULL,
  visible_at REAL NOT NULL,
  expires_at REAL NOT NULL,
  dequeue_count INTEGER NOT NULL,
  PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX queue_message_by_visibility ON queue_message (queue, visible_at);
CREATE TABLE artifact (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  thread TEXT NOT NULL,
  name TEXT NOT NULL,
  content BLOB NOT NULL,
  content_type TEXT NOT NULL,
  written_at REAL NOT NULL,
  PRIMARY KEY (tenant, conversation, thread, name)
);
CREATE TABLE document (
  collection TEXT NOT NULL,
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  value TEXT NOT NULL,
  due_at REAL,
  expires_at REAL,
  version TEXT NOT NULL,
  PRIMARY KEY (collection, tenant, id)
) WITHOUT ROWID;
CREATE INDEX document_by_due_time ON document (collection, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX document_by_expiry ON document (expires_at) WHERE expires_at IS NOT NULL;
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Creates the tables in a new file. Raises `StorageError` for a file of another version."""
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    if _version(connection) == VERSION:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have created them since.
        if _version(connection) == VERSION:
            return
        if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
            (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
            raise StorageError(f"{file} was written by another version of this program; move it away or delete it")
        # executescript would commit first.
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Retries where another process is opening the same new file: SQLite's own timeout does not cover this pragma."""
    deadline = time.monotonic() + _MAX_WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_SECONDS)


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
