"""What an error of asyncpg means for the call."""

from __future__ import annotations

import ssl

import asyncpg

# Of a connection that was closed.
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # Of a server that was the primary one until now.
    asyncpg.ReadOnlySQLTransactionError,
    # "Connection is closed", and what asyncpg makes of a connection that ends in the middle of an answer.
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# No retry helps there. They are of the same classes as some above.
_WRONG_CALL = (asyncpg.DataError, asyncpg.exceptions.ClientConfigurationError, ssl.SSLCertVerificationError)
_PASSING = (
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    # After the password was changed between its reading and its use.
    asyncpg.InvalidAuthorizationSpecificationError,
    # Two processes waited for each other, or the tables were changed: the server has undone everything.
    asyncpg.exceptions.TransactionRollbackError,
    asyncpg.InvalidCachedStatementError,
)
_MISSING_TABLES = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)
# The messages of others may quote what was to be written.
_TOLD = (
    OSError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.ReadOnlySQLTransactionError,
)
ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def is_lost_connection(error: Exception) -> bool:
    """A fresh connection may do."""
    return isinstance(error, _LOST) and not isinstance(error, _WRONG_CALL)


def may_pass(error: Exception) -> bool:
    """Whether the call may succeed when it is made again."""
    return is_lost_connection(error) or isinstance(error, _PASSING)


def is_refused_sign_in(error: Exception) -> bool:
    return isinstance(error, asyncpg.InvalidAuthorizationSpecificationError)


def misses_tables(error: Exception) -> bool:
    return isinstance(error, _MISSING_TABLES)


def reason(error: BaseException, schema: str) -> str:
    """For the log: what it was, without anything that was to be written."""
    code = getattr(error, "sqlstate", None)
    name = f"{type(error).__name__} {code}" if code else type(error).__name__
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return (
            f"{name}: {error}; the role needs CREATE on the database, or must own the schema {schema} and its tables, "
            "which belong to the role that connected first"
        )
    return f"{name}: {error}".removesuffix(": ") if isinstance(error, _TOLD) else name
