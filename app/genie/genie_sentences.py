"""What people read while Genie works, and why it failed: its states and error types in groups."""

from __future__ import annotations

from app.databricks.workspace_errors import (
    CredentialError,
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceRequestError,
    WorkspaceSignInError,
    WorkspaceTimeoutError,
)
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
_NO_ACCESS = Sentence("Genie may not be used with this identity: it needs CAN RUN on the space.")
_NO_SPACE = Sentence("The Genie space is not there any more. Please tell your administrator.")
_NO_SIGN_IN = Sentence("Databricks did not accept the sign-in for Genie. Please tell your administrator.")
_REFUSED = Sentence("Genie did not take the question. Please ask in other words.")
_NO_REPLY = Sentence("Genie cannot be reached at the moment. Please ask again in a minute.")

BUSY = Sentence("Genie is busy at the moment. Please ask again in a minute.")
_WAREHOUSE = Sentence("The SQL warehouse cannot be used: it is missing, stopped, or this identity lacks CAN USE on it.")
_TABLES = Sentence("Genie may not read a table or function that it needs; grants in Unity Catalog may be missing.")
_SQL = Sentence("The query that Genie wrote failed. Please ask in other words, or more precisely.")
_TOO_LARGE = Sentence("The question, or the data that it touches, is too large for Genie. Please ask for less.")
_FILTERED = Sentence("Genie's content filter refused the question. Please ask in other words.")
_SPACE_SETUP = Sentence("The Genie space is not set up completely. Please tell your administrator.")
_FAILED = Sentence("Genie failed for a reason of its own. Please ask again.")

# All of databricks-sdk 0.162 (dashboards.MessageErrorType), without the ending _EXCEPTION. More may be added.
GROUPS: dict[Sentence, str] = {
    BUSY: (
        "BLOCK_MULTIPLE_EXECUTIONS CHAT_COMPLETION_CLIENT CHAT_COMPLETION_NETWORK COULD_NOT_GET_MODEL_DEPLOYMENTS"
        " GENERIC_CHAT_COMPLETION GENERIC_CHAT_COMPLETION_SERVICE RATE_LIMIT_EXCEEDED_GENERIC"
        " RATE_LIMIT_EXCEEDED_SPECIFIED_WAIT RETRYABLE_PROCESSING"
    ),
    TIMED_OUT: "CHAT_COMPLETION_CLIENT_TIMEOUT DESCRIBE_QUERY_TIMEOUT REPLY_PROCESS_TIMEOUT",
    CANCELLED: (
        "MESSAGE_CANCELLED_WHILE_EXECUTING MESSAGE_DELETED_WHILE_EXECUTING MESSAGE_UPDATED_WHILE_EXECUTING"
        " STOP_PROCESS_DUE_TO_AUTO_REGENERATE"
    ),
    _FILTERED: "CONTENT_FILTER",
    _TOO_LARGE: (
        "CONTEXT_EXCEEDED EXCEEDED_MAX_TOKEN_LENGTH GENERATED_SQL_QUERY_TOO_LONG LOCAL_CONTEXT_EXCEEDED"
        " MESSAGE_ATTACHMENT_TOO_LONG_ERROR"
    ),
    _WAREHOUSE: "WAREHOUSE_ACCESS_MISSING WAREHOUSE_NOT_FOUND",
    _TABLES: (
        "COULD_NOT_GET_DASHBOARD_SCHEMA COULD_NOT_GET_UC_SCHEMA FUNCTIONS_NOT_AVAILABLE TABLES_MISSING"
    ),
    _SPACE_SETUP: (
        "DEPLOYMENT_NOT_FOUND ILLEGAL_PARAMETER_DEFINITION INTERNAL_CATALOG_ASSET_CREATION_FAILED"
        " INTERNAL_CATALOG_ASSET_CREATION_ONGOING INTERNAL_CATALOG_ASSET_CREATION_UNSUPPORTED"
        " INTERNAL_CATALOG_MISSING_UC_PATH INTERNAL_CATALOG_PATH_OVERLAP INVALID_CERTIFIED_ANSWER_FUNCTION"
        " INVALID_CERTIFIED_ANSWER_IDENTIFIER NO_DEPLOYMENTS_AVAILABLE_TO_WORKSPACE NO_TABLES_TO_QUERY"
        " TOO_MANY_CERTIFIED_ANSWERS TOO_MANY_TABLES UNKNOWN_AI_MODEL UNSUPPORTED_CONVERSATION_TYPE"
    ),
    _SQL: (
        "DESCRIBE_QUERY_INVALID_SQL_ERROR DESCRIBE_QUERY_UNEXPECTED_FAILURE FUNCTION_ARGUMENTS_INVALID"
        " FUNCTION_ARGUMENTS_INVALID_JSON FUNCTION_ARGUMENTS_INVALID_TYPE FUNCTION_CALL_MISSING_PARAMETER"
        " GENERIC_SQL_EXEC_API_CALL INVALID_FUNCTION_CALL INVALID_SQL_MULTIPLE_DATASET_REFERENCES"
        " INVALID_SQL_MULTIPLE_STATEMENTS INVALID_SQL_UNKNOWN_TABLE INVALID_TABLE_IDENTIFIER MISSING_SQL_QUERY"
        " NO_QUERY_TO_VISUALIZE SQL_EXECUTION"
    ),
    _FAILED: "INVALID_CHAT_COMPLETION_JSON INVALID_COMPLETION_REQUEST UNEXPECTED_REPLY_PROCESS",
}  # fmt: skip

_OF_WORKSPACE: tuple[tuple[type[WorkspaceError], Sentence], ...] = (
    (WorkspaceRateLimitError, THROTTLED),
    (WorkspacePermissionError, _NO_ACCESS),
    (WorkspaceNotFoundError, _NO_SPACE),
    (WorkspaceSignInError, _NO_SIGN_IN),
    (CredentialError, _NO_SIGN_IN),
    (WorkspaceRequestError, _REFUSED),
    (WorkspaceTimeoutError, TIMED_OUT),
)


def failure_sentence(error_type: str) -> Sentence:
    """For the type of a message's error; new types get the most general sentence."""
    name = error_type.removesuffix("_EXCEPTION")
    return next((sentence for sentence, names in GROUPS.items() if name in names.split()), _FAILED)


def workspace_sentence(error: WorkspaceError) -> Sentence:
    return next((sentence for kind, sentence in _OF_WORKSPACE if isinstance(error, kind)), _NO_REPLY)
