"""What people read while Genie works, and why it failed: its states and error types in groups."""

from __future__ import annotations

from app.translation import Sentence

_READING = Sentence("Reading what data there is…")
_WRITING_SQL = Sentence("Writing SQL…")
_WAREHOUSE_STARTS = Sentence("The warehouse is starting…")
_RUNNING = Sentence("Running the query…")

PROGRESS = {
    "FETCHING_METADATA": _READING,
    "FILTERING_CONTEXT": _READING,
    "ASKING_AI": _WRITING_SQL,
    "PENDING_WAREHOUSE": _WAREHOUSE_STARTS,
    "EXECUTING_QUERY": _RUNNING,
}
"""Of the states of a message. For others, and unknown ones, nothing new is said."""

TIMED_OUT = Sentence("Genie took too long. Please ask for less at once, or again in a few minutes.")
CANCELLED = Sentence("The question was cancelled in Databricks.")
THROTTLED = Sentence("Genie takes only a few questions a minute. Please ask again in a minute.")
NO_ACCESS = Sentence("Genie may not be used with this identity: it needs CAN RUN on the space.")
NO_SPACE = Sentence("The Genie space is not there any more. Please tell your administrator.")

_BUSY = Sentence("Genie is busy at the moment. Please ask again in a minute.")
_WAREHOUSE = Sentence("The SQL warehouse cannot be used: it is missing, stopped, or this identity lacks CAN USE on it.")
_TABLES = Sentence("Genie may not read a table or function that it needs; grants in Unity Catalog may be missing.")
_SQL = Sentence("The query that Genie wrote failed. Please ask in other words, or more precisely.")
_TOO_LARGE = Sentence("The question, or the data that it touches, is too large for Genie. Please ask for less.")
_FILTERED = Sentence("Genie's content filter refused the question. Please ask in other words.")
_SPACE_SETUP = Sentence("The Genie space is not set up completely. Please tell your administrator.")
_FAILED = Sentence("Genie failed for a reason of its own. Please ask again.")

# Of parts of the error types, the first that fits: there are 61, and more are added.
_GROUPS = (
    (("RATE_LIMIT", "TOO_MANY", "BLOCK_MULTIPLE", "RESOURCE_EXHAUSTED"), _BUSY),
    (("CONTENT_FILTER", "GUARDRAIL"), _FILTERED),
    (("SCHEMA",), _TABLES),
    (("CONTEXT_EXCEEDED", "TOO_LARGE", "TOKEN", "EXCEEDED_MAX"), _TOO_LARGE),
    (("WAREHOUSE",), _WAREHOUSE),
    (("CHAT_COMPLETION", "MODEL_DEPLOYMENTS", "UNAVAILABLE", "RETRYABLE", "REPLY_PROCESS"), _BUSY),
    (("TIMED_OUT", "TIMEOUT", "DEADLINE"), TIMED_OUT),
    (("NO_TABLES", "NO_QUERY_TO_VISUALIZE", "NO_DEPLOYMENTS", "INVALID_CERTIFIED", "MISSING_SQL_QUERY"), _SPACE_SETUP),
    (("MISSING", "NOT_FOUND", "PERMISSION", "ACCESS", "FORBIDDEN", "UNAUTHORIZED"), _TABLES),
    (("SQL", "QUERY", "FUNCTION", "COLUMN", "AMBIGUOUS"), _SQL),
)


def failure_sentence(error_type: str) -> Sentence:
    return next((text for parts, text in _GROUPS if any(part in error_type for part in parts)), _FAILED)
