"""Whether a statement only reads. What cannot be told for certain is refused.

The warehouse runs the original text, so whatever Databricks and sqlglot may read differently is refused first:
https://docs.databricks.com/sql/language-manual/sql-ref-syntax-qry-select.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from sqlglot import exp
from sqlglot.dialects.databricks import Databricks
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

MAX_CHARACTERS = 20_000
MAX_BRACKETS_DEEP = 50

_READ_DIFFERENTLY = (
    # Databricks does not nest a hint in a comment, and sqlglot does.
    ("/*", "leave out /* comments */ and hints"),
    # Raw strings end there, others do not.
    (re.compile(r"\\['\"`]"), "no backslash before a quote: put a text that holds ' between double quotes"),
    # There a comment goes on in Databricks.
    (re.compile(r"\\[\r\n]"), "no backslash at the end of a line"),
    (re.compile(r"\$(?:[A-Za-z_]\w{0,100})?\$|\$\{"), "no $ quotes and no ${variables}"),
)

_BEGINS_QUERY = {TokenType.SELECT, TokenType.WITH, TokenType.FROM, TokenType.VALUES, TokenType.L_PAREN}
_REFUSED_MODULES = {"ddl", "dml", "properties", "constraints"}
_REFUSED_CLASSES = {
    *(
        "Analyze",
        "Block",
        "Cache",
        "CaseStatement",
        "ConditionalInsert",
        "DynamicIdentifier",
        "Get",
        "Grant",
        "IfBlock",
    ),
    *("Into", "Lock", "LockingStatement", "LoopBlock", "MultitableInserts", "Put", "Refresh", "RepeatBlock", "Return"),
    *("Revoke", "StoredProcedure", "Uncache", "WhileBlock"),
}
_REFUSED_FUNCTIONS = {
    *("secret", "try_secret", "list_secrets", "http_request", "java_method", "try_java_method", "reflect"),
    *("try_reflect", "identifier", "python_exec"),
}
_EXTERNAL_FUNCTIONS = {
    *("cloud_files", "event_log", "from_avro", "from_protobuf", "remote_query", "to_avro", "to_protobuf"),
    *("vector_search", "list_files"),
}
_EXTERNAL_PREFIXES = ("ai_", "try_ai_", "read_", "cloud_files")
_FILE_FORMATS = {
    *("avro", "binaryfile", "cloudfiles", "csv", "delta", "excel", "hudi", "iceberg", "image", "jdbc", "json"),
    *("kafka", "libsvm", "orc", "parquet", "text", "xml"),
}


class NotReadOnlyError(Exception):
    """`str()` says why, for the model."""


def check_read_only(text: str, *, allows_external: bool) -> None:
    """Raises `NotReadOnlyError`. `allows_external`: files, streams, other databases, and AI functions may be read.

    Takes about a second for the longest text, so it belongs in a thread.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotReadOnlyError(f"the statement is longer than {MAX_CHARACTERS:,} characters")
    for pattern, advice in _READ_DIFFERENTLY:
        if pattern in text if isinstance(pattern, str) else pattern.search(text):
            raise NotReadOnlyError(f"the statement cannot be checked; {advice}")
    dialect = Databricks()
    try:
        tokens = dialect.tokenize(text)
        while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
            tokens.pop()
        _check_tokens(tokens, allows_external)
        _let_window_be_a_function(tokens)
        statements = dialect.parser().parse(tokens, text)
        if len(statements) != 1 or not isinstance(statements[0], exp.Query | exp.Values):
            raise NotReadOnlyError("only one query is run, such as SELECT; nothing that changes anything")
        for node in statements[0].walk():
            _check_node(node, allows_external)
    except SqlglotError as error:
        raise NotReadOnlyError("the statement cannot be read as one query in Databricks SQL") from error
    except RecursionError as error:
        raise NotReadOnlyError("the statement is nested too deeply") from error


def _check_tokens(tokens: Sequence[Token], allows_external: bool) -> None:
    if not tokens:
        raise NotReadOnlyError("there is no statement")
    if tokens[0].token_type not in _BEGINS_QUERY:
        raise NotReadOnlyError("only a query is run, which begins with SELECT, WITH, FROM or VALUES")
    depth = 0
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            raise NotReadOnlyError("only one statement is run at a time")
        if token.token_type is TokenType.L_PAREN:
            depth += 1
        elif token.token_type is TokenType.R_PAREN:
            depth -= 1
        if depth > MAX_BRACKETS_DEEP:
            raise NotReadOnlyError("the statement is nested too deeply")
    for token, following in pairwise(tokens):
        if token.token_type is TokenType.USING and following.token_type is TokenType.STRING:
            raise NotReadOnlyError("a query may run no script")
        if following.token_type is TokenType.L_PAREN and token.token_type is not TokenType.STRING:
            _check_function(token.text.casefold(), allows_external)


def _let_window_be_a_function(tokens: Sequence[Token]) -> None:
    """sqlglot takes GROUP BY window(time, '1 hour') for the WINDOW clause, which has a name before its bracket."""
    for token, following in pairwise(tokens):
        if token.token_type is TokenType.WINDOW and following.token_type is TokenType.L_PAREN:
            token.token_type = TokenType.VAR


def _check_function(name: str, allows_external: bool) -> None:
    if name in _REFUSED_FUNCTIONS:
        raise NotReadOnlyError(f"the function {name} may not be used")
    if not allows_external and (name in _EXTERNAL_FUNCTIONS or name.startswith(_EXTERNAL_PREFIXES)):
        raise NotReadOnlyError("a function that reaches outside the tables (files, streams, AI) may not be used")


def _check_node(node: exp.Expr, allows_external: bool) -> None:
    kind = type(node)
    module = kind.__module__.rpartition(".")[2]
    if module in _REFUSED_MODULES or kind.__name__ in _REFUSED_CLASSES:
        raise NotReadOnlyError(f"a query may hold no {kind.__name__.upper()}")
    if isinstance(node, exp.Table) and not allows_external:
        schema = node.db.casefold()
        by_path = "/" in node.name or ":" in node.name or "." in schema
        if by_path or (schema in _FILE_FORMATS and not node.catalog):
            raise NotReadOnlyError("files may not be read; only tables, by their name")
