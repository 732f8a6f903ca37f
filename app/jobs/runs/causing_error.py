"""The exception that caused a failure, found in the traces of Python, the JVM, dbt and pip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.tools.redaction import without_secrets

MAX_TRACE_CHARACTERS = 60_000
_MAX_LINE_CHARACTERS = 2_000
_MAX_LINES = 3
_MAX_ERROR_CHARACTERS = 1_200
_MAX_NORMALISED_CHARACTERS = 400

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
# dbt shows the trace of a Python model as the notebook coloured it.
_SPAN = re.compile(r"</?span(?: class='ansi-[a-z-]{1,40}')?>")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_EXCEPTION = re.compile(r"([A-Za-z_][\w.$]{0,200})(?::(?:\s(.*))?)?$", re.DOTALL)
# Spark Connect puts the type of the server's exception in front of its message.
_REMOTE = re.compile(r"\(([\w.$]{1,200})\)\s?(.*)$", re.DOTALL)
_EXCEPTION_SUFFIXES = ("Error", "Exception", "Interrupt", "Exit", "Failure", "Timeout", "NotFound", "Throwable")
_IN_LOST_TASK = re.compile(r"Lost task [^)]{0,200}\)(?: \([^)]{0,200}\))?: ")
_EXECUTOR_LOST = "ExecutorLostFailure"
_DBT = re.compile(
    r"(?:[\d:.]{5,15}\s{1,4})?((?:Database|Compilation|Runtime|Dependency|Parsing) Error(?: in .{0,300})?"
    r"|Failure in test .{1,300}|External connection exception occurred: .{1,600})$"
)
_ERROR_CONDITION = re.compile(r"\[[A-Z][A-Z0-9_.]{2,100}\]\s")
_CHAIN = ("During handling of the above exception", "The above exception was the direct cause")
_NO_MESSAGE = (
    "at ",
    "File ",
    "Traceback ",
    "Driver stacktrace",
    "Caused by:",
    "...",
    "==",
    "---",
    "JVM stacktrace",
    "^",
)

_WRAPPERS = frozenset(
    [
        *("Py4JJavaError", "PythonException", "InvocationTargetException", "ExecutionException"),
        *("UndeclaredThrowableException", "CompletionException", "UncheckedExecutionException"),
        *("CalledProcessError", "SystemExit", "PipelineException", "WorkflowException", "NotebookExecutionException"),
        *("RunExecutionError", "DbtRuntimeError"),
    ]
)
_WRAPPING_MESSAGES = (
    *("Job aborted", "Task failed while writing rows", "Exception thrown in awaitResult", "[TASK_WRITE_FAILED]"),
    "[FAILED_EXECUTE_UDF]",
)

_REPLACEMENTS = (
    (re.compile(r"\b[a-z][a-z0-9+]{1,10}:/{1,3}[^\s'\"`,;)\]]+", re.IGNORECASE), "<path>"),
    (re.compile(r"(?<![\w/])/[\w.@+-]+/[^\s'\"`,:;)\]]*"), "<path>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"(?<![\w.])(?:0x[0-9a-f]+|(?=[a-f]{0,64}\d)[0-9a-f]{12,64})(?!\w)", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class _Raised:
    line: int
    kind: Literal["python", "java", "cause"]
    type: str
    message: str

    @property
    def is_wrapper(self) -> bool:
        return self.type.replace("$", ".").rsplit(".", 1)[-1] in _WRAPPERS or self.message.startswith(
            _WRAPPING_MESSAGES
        )


def causing_error(error: str, trace: str = "") -> str:
    """A few lines: the cause, and what it was raised as where that is another exception. Without secrets; empty only
    where both are. The first line of `error` is kept where no exception is recognised.
    """
    lines = bounded_trace(trace).split("\n")
    found = _dbt_error(lines) or _found_in(lines)
    short = bounded_trace(error).split("\n")
    found = found or _dbt_error(short) or _found_in(short) or _pip_error(lines) or _error_condition(lines)
    return (found or _message(short, 0, "") or _last_line(lines))[:_MAX_ERROR_CHARACTERS].strip()


def bounded_trace(trace: str) -> str:
    """The beginning and the end of it, without secrets, colours and control characters."""
    if len(trace) > 2 * MAX_TRACE_CHARACTERS:
        trace = f"{trace[:MAX_TRACE_CHARACTERS]}\n{trace[-MAX_TRACE_CHARACTERS:]}"
    clean = without_secrets(_CONTROL.sub("", _SPAN.sub("", _ANSI.sub("", trace.replace("\r\n", "\n")))))
    half = MAX_TRACE_CHARACTERS // 2
    return clean if len(clean) <= MAX_TRACE_CHARACTERS else f"{clean[: half - 2]}\n…\n{clean[1 - half :]}"


def normalised_error(error: str) -> str:
    """The same for errors that differ only in numbers, ids, paths, times, letter case and white space."""
    text = error[: 4 * _MAX_NORMALISED_CHARACTERS].strip()
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text.casefold()[:_MAX_NORMALISED_CHARACTERS]


def _found_in(lines: Sequence[str]) -> str:
    # Below it stands what the Python exception has said already, but for the causes.
    jvm = next((number for number, line in enumerate(lines) if line.startswith("JVM stacktrace:")), len(lines))
    raised = [each for number, line in enumerate(lines) for each in _raised_on(number, line)]
    raised = [each for each in raised if each.line < jvm or each.kind != "python"]
    chosen = _cause_in_jvm(raised) or _first_of_last_chain(raised, lines)
    if chosen is None:
        return ""
    cause = _message(lines, chosen.line, f"{chosen.type}: {chosen.message}" if chosen.message else chosen.type)
    outer = next((each for each in reversed(raised) if each.kind == "python" and not each.is_wrapper), chosen)
    if outer.line <= chosen.line or (outer.type, outer.message) == (chosen.type, chosen.message):
        return cause
    return f"{cause}\nRaised as {outer.type}: {outer.message[:300]}"


def _raised_on(number: int, line: str) -> list[_Raised]:
    line = line[:_MAX_LINE_CHARACTERS]
    kind: Literal["python", "java", "cause"] = "python"
    if (stripped := line.strip()).startswith("Caused by: "):
        kind, line = "cause", stripped.removeprefix("Caused by: ")
    elif line.startswith(": "):
        kind, line = "java", line[2:]
    elif line.startswith('Exception in thread "'):
        kind, line = "java", line.rpartition('" ')[2]
    found = [] if (one := _exception(number, kind, line)) is None else [one]
    if lost := _IN_LOST_TASK.search(line):
        reason = line[lost.end() :]
        inner = _exception(number, "java", reason)
        if reason.startswith(_EXECUTOR_LOST):
            inner = _Raised(number, "java", _EXECUTOR_LOST, reason.removeprefix(_EXECUTOR_LOST).strip())
        found += [] if inner is None else [inner]
    return found


def _exception(number: int, kind: Literal["python", "java", "cause"], line: str) -> _Raised | None:
    found = _EXCEPTION.match(line)
    if found is None or not found[1].endswith(_EXCEPTION_SUFFIXES):
        return None
    message = (found[2] or "").strip()
    if (remote := _REMOTE.match(message)) and remote[1].endswith(_EXCEPTION_SUFFIXES):
        return _Raised(number, kind, remote[1], remote[2])
    return _Raised(number, kind, found[1], message)


def _cause_in_jvm(raised: Sequence[_Raised]) -> _Raised | None:
    """The last "Caused by"; where a Python worker failed, the exception of its traceback, which stands below."""
    causes = [each for each in raised if each.kind != "python"]
    for cause in reversed(causes):
        if cause.type.endswith("PythonException"):
            below = (
                each for each in raised if each.kind == "python" and each.line > cause.line and not each.is_wrapper
            )
            if (worker := next(below, None)) is not None:
                return worker
        if not cause.is_wrapper:
            return cause
    return None


def _first_of_last_chain(raised: Sequence[_Raised], lines: Sequence[str]) -> _Raised | None:
    """Python tells the first exception first. Earlier tracebacks that no chain joins were handled."""
    python = [each for each in raised if each.kind == "python"]
    if not python:
        return None
    links = [number for number, line in enumerate(lines) if line.lstrip().startswith(_CHAIN)]
    chain = [python[-1]]
    for each in reversed(python[:-1]):
        while links and links[-1] > chain[-1].line:
            links.pop()
        if not links or links[-1] < each.line:
            break
        chain.append(each)
    return next((each for each in reversed(chain) if not each.is_wrapper), None)


def _dbt_error(lines: Sequence[str]) -> str:
    for number, line in enumerate(lines):
        if found := _DBT.match(line[:_MAX_LINE_CHARACTERS].strip()):
            following = next(iter(lines[number + 1 : number + 2]), "")
            return "" if "failed with traceback" in following else _message(lines, number, found[1])
    return ""


def _pip_error(lines: Sequence[str]) -> str:
    number = next((number for number, line in enumerate(lines) if line.lstrip().startswith("ERROR: ")), None)
    return "" if number is None else _message(lines, number, lines[number].strip().removeprefix("ERROR: "))


def _error_condition(lines: Sequence[str]) -> str:
    number = next((number for number, line in enumerate(lines) if _ERROR_CONDITION.match(line.strip())), None)
    return "" if number is None else _message(lines, number, "")


def _message(lines: Sequence[str], number: int, first: str) -> str:
    """`first`, or the line itself, and what of the message stands on the lines below it."""
    message = [first or lines[number].strip()]
    for line in lines[number + 1 : number + _MAX_LINES]:
        if not (text := line.strip()) or text.startswith(_NO_MESSAGE) or _raised_on(0, line):
            break
        message.append(text)
    return "\n".join(each[:600] for each in message)


def _last_line(lines: Sequence[str]) -> str:
    return next((line.strip()[:600] for line in reversed(lines) if line.strip()), "")
