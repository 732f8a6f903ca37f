"""The tables of the PostgreSQL engine."""

from __future__ import annotations

from app.storage.postgres.postgres_session import PostgresSession
from app.storage.storage_errors import StorageError

VERSION = 1
# "agent" in ASCII. Every process takes it before it looks whether the tables are there: IF NOT EXISTS of two processes
# at once fails in PostgreSQL.
_CREATION_LOCK = 0x6167656E74

# Not to_regclass(): it answers from a cache that waiting for the lock does not refresh.
_EXISTS = "SELECT 1 FROM pg_tables WHERE schemaname = '{schema}' AND tablename = 'storage_version'"
_SCHEMA_EXISTS = "SELECT 1 FROM pg_namespace WHERE nspname = '{schema}'"
_VERSION = "SELECT version FROM {schema}.storage_version"
# Later than the first version, which goes on with the same tables: it neither reads nor writes this column.
_INSERTED_AT_EXISTS = (
    "SELECT 1 FROM information_schema.columns "
    "WHERE table_schema = '{schema}' AND table_name = 'queue_message' AND column_name = 'inserted_at'"
)
_ADD_INSERTED_AT = "ALTER TABLE {schema}.queue_message ADD COLUMN IF NOT EXISTS inserted_at DOUBLE PRECISION"
_TABLES = """
CREATE TABLE {schema}.storage_version (version INTEGER NOT NULL);
CREATE TABLE {schema}.message (
  conversation BYTEA NOT NULL,
  thread BYTEA NOT NULL,
  position BIGINT NOT NULL,
  role TEXT NOT NULL,
  text TEXT NOT NULL,
  complete BOOLEAN NOT NULL,
  blocks TEXT NOT NULL,
  activity_id TEXT NOT NULL,
  caller TEXT NOT NULL,
  written_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (conversation, thread, position)
);
CREATE INDEX message_by_age ON {schema}.message USING BRIN (written_at);
CREATE TABLE {schema}.turn (
  conversation BYTEA NOT NULL,
  thread BYTEA NOT NULL,
  activity BYTEA NOT NULL,
  ticket BIGINT NOT NULL,
  state TEXT NOT NULL,
  owner TEXT NOT NULL,
  lease_until DOUBLE PRECISION NOT NULL,
  attempt_count INTEGER NOT NULL,
  payload TEXT NOT NULL,
  checkpoint TEXT NOT NULL,
  result TEXT NOT NULL,
  version BIGINT NOT NULL,
  written_at DOUBLE PRECISION NOT NULL,
  started_ticket BIGINT NOT NULL,
  PRIMARY KEY (conversation, thread, activity)
) WITH (fillfactor = 70);
CREATE INDEX turn_by_ticket ON {schema}.turn (conversation, thread, ticket);
CREATE INDEX open_turn_by_ticket ON {schema}.turn (conversation, thread, ticket) WHERE state = 'started';
CREATE INDEX turn_by_started_ticket ON {schema}.turn (conversation, thread, started_ticket);
CREATE TABLE {schema}.queue_message (
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  body BYTEA NOT NULL,
  pop_receipt TEXT NOT NULL,
  inserted_at DOUBLE PRECISION,
  visible_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL,
  dequeue_count INTEGER NOT NULL,
  PRIMARY KEY (queue, id)
);
CREATE INDEX queue_message_by_visibility ON {schema}.queue_message (queue, visible_at);
CREATE INDEX queue_message_by_expiry ON {schema}.queue_message (expires_at);
CREATE TABLE {schema}.artifact (
  conversation BYTEA NOT NULL,
  thread BYTEA NOT NULL,
  name BYTEA NOT NULL,
  content BYTEA NOT NULL,
  content_type TEXT NOT NULL,
  written_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (conversation, thread, name)
);
CREATE TABLE {schema}.document (
  key BYTEA NOT NULL PRIMARY KEY,
  partition_key BYTEA NOT NULL,
  collection TEXT NOT NULL,
  tenant BYTEA NOT NULL,
  id BYTEA NOT NULL,
  value TEXT NOT NULL,
  due_at DOUBLE PRECISION,
  expires_at DOUBLE PRECISION,
  version TEXT NOT NULL
);
CREATE INDEX document_by_id ON {schema}.document (partition_key, substring(id FOR 400));
CREATE INDEX document_by_due_time ON {schema}.document (collection, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX document_by_expiry ON {schema}.document (expires_at) WHERE expires_at IS NOT NULL;
"""


async def prepare(session: PostgresSession) -> None:
    """Creates schema and tables where they are missing. Raises `StorageError` for tables of another version."""
    if not await session.value(_EXISTS):
        async with session.transaction(lock=_CREATION_LOCK):
            # Another process may have created them since.
            if not await session.value(_EXISTS):
                # CREATE SCHEMA IF NOT EXISTS needs the privilege even where the schema exists.
                if await session.row(_SCHEMA_EXISTS) is None:
                    await session.script("CREATE SCHEMA {schema}")
                await session.script(_TABLES)
                await session.execute("INSERT INTO {schema}.storage_version VALUES ($1)", VERSION)
    if await session.value(_VERSION) != VERSION:
        raise StorageError(
            f"the schema {session.schema} was written by another version of this program; drop it or name another one"
        )
    if not await session.value(_INSERTED_AT_EXISTS):
        async with session.transaction(lock=_CREATION_LOCK):
            await session.script(_ADD_INSERTED_AT)
