"""Statements about turns and messages. $1 is always the conversation and $2 the thread."""

from __future__ import annotations

RECENT = """
SELECT role, text, complete, blocks, activity_id, caller FROM {schema}.message
WHERE conversation = $1 AND thread = $2 ORDER BY position DESC LIMIT $3
"""
REMOVE_EXCHANGE = """
DELETE FROM {schema}.message WHERE conversation = $1 AND thread = $2 AND position / 100 IN
  (SELECT position / 100 FROM {schema}.message WHERE conversation = $1 AND thread = $2 AND activity_id = $3)
"""
ANY = "SELECT 1 FROM {schema}.message LIMIT 1"

_CLOSE_SUSPENDED = """
UPDATE {schema}.turn SET state = 'failed', payload = '', checkpoint = '', version = version + 1
WHERE state = 'suspended' AND conversation = $1
"""
FORGET = (
    f"{_CLOSE_SUSPENDED} AND thread = $2",
    "DELETE FROM {schema}.message WHERE conversation = $1 AND thread = $2",
    "DELETE FROM {schema}.artifact WHERE conversation = $1 AND thread = $2",
)
FORGET_THREADS = (
    _CLOSE_SUSPENDED,
    "DELETE FROM {schema}.message WHERE conversation = $1",
    "DELETE FROM {schema}.artifact WHERE conversation = $1",
)
# Here $1 is a time.
OLD = (
    "DELETE FROM {schema}.message WHERE written_at < $1",
    "DELETE FROM {schema}.turn WHERE written_at < $1",
    "DELETE FROM {schema}.artifact WHERE written_at < $1",
)

FIND = """
SELECT ticket, state, owner, lease_until, attempt_count, payload, checkpoint, result, version FROM {schema}.turn
WHERE conversation = $1 AND thread = $2 AND activity = $3
"""
# The last ticket that was started, those that are taken from $3 on, and the first of the other open turns.
TICKETS = """
SELECT
  started,
  ARRAY(
    SELECT ticket FROM {schema}.turn WHERE conversation = $1 AND thread = $2 AND ticket >= GREATEST($3, started + 1)
  ),
  (
    SELECT MIN(ticket) FROM {schema}.turn
    WHERE conversation = $1 AND thread = $2 AND state = 'started' AND activity <> $4
  )
FROM (
  SELECT COALESCE(MAX(started_ticket), 0) AS started FROM {schema}.turn WHERE conversation = $1 AND thread = $2
) AS last
"""
# Gives the history too, to spare a round trip.
ENTER = """
WITH entered AS (
  INSERT INTO {schema}.turn (
    conversation, thread, activity, state, owner, lease_until, attempt_count, payload, checkpoint, result, written_at,
    ticket, version, started_ticket
  ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
  ON CONFLICT (conversation, thread, activity) DO UPDATE SET
    state = excluded.state, owner = excluded.owner, lease_until = excluded.lease_until,
    attempt_count = excluded.attempt_count, payload = excluded.payload, checkpoint = excluded.checkpoint,
    result = excluded.result, written_at = excluded.written_at, ticket = excluded.ticket, version = excluded.version,
    started_ticket = GREATEST(turn.started_ticket, excluded.started_ticket)
)
SELECT role, text, complete, blocks, activity_id, caller FROM {schema}.message
WHERE conversation = $1 AND thread = $2 ORDER BY position DESC LIMIT $15
"""
CHANGE = """
UPDATE {schema}.turn SET
  state = $4, owner = $5, lease_until = $6, attempt_count = $7, payload = $8, checkpoint = $9, result = $10,
  written_at = $11, version = version + 1
WHERE conversation = $1 AND thread = $2 AND activity = $3 AND version = $12
"""
END = """
WITH changed AS (
  UPDATE {schema}.turn SET
    state = $4, owner = $5, lease_until = $6, attempt_count = $7, payload = $8, checkpoint = $9, result = $10,
    written_at = $11, version = version + 1
  WHERE conversation = $1 AND thread = $2 AND activity = $3 AND version = $12
  RETURNING 1
), appended AS (
  INSERT INTO {schema}.message (
    conversation, thread, position, role, text, complete, blocks, activity_id, caller, written_at
  )
  SELECT $1, $2, $13 + number - 1, role, text, complete, blocks, activity_id, caller, $11
  FROM unnest($14::text[], $15::text[], $16::boolean[], $17::text[], $18::text[], $19::text[])
    WITH ORDINALITY AS said (role, text, complete, blocks, activity_id, caller, number)
  WHERE EXISTS (SELECT FROM changed)
)
SELECT COUNT(*) FROM changed
"""
# Gives the predecessor, or starts the turn where there is none.
START = """
WITH predecessor AS (
  SELECT ticket, lease_until FROM {schema}.turn
  WHERE conversation = $1 AND thread = $2 AND ticket < $4 AND state = 'started' AND lease_until > $5
  ORDER BY ticket LIMIT 1
), started AS (
  UPDATE {schema}.turn SET started_ticket = ticket
  WHERE conversation = $1 AND thread = $2 AND activity = $3 AND NOT EXISTS (SELECT FROM predecessor)
)
SELECT ticket, lease_until FROM predecessor
"""
SKIP = """
UPDATE {schema}.turn SET lease_until = 0, version = version + 1
WHERE conversation = $1 AND thread = $2 AND ticket = $3 AND lease_until = $4 AND state = 'started'
"""
