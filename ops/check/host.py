"""host.json: what the Functions host is told of queues and time, against what a turn needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.local.host_json import HostJson, HostJsonError
from app.local.timespan import seconds_of
from ops.check.bicep.queries import asked_tables
from ops.check.bicep.source import read, said
from ops.check.bicep.values import MAIN
from ops.check.document import Document, UnreadableDocumentError
from ops.check.host_bundle import check_form
from ops.check.problem import Problem

HOST = "host.json"
ALERTS = "infra/modules/alerts.bicep"

# What the host calls the rows that it would keep only a sample of:
# https://learn.microsoft.com/azure/azure-functions/functions-host-json#applicationinsightssamplingsettings
_TYPES = {"AppRequests": "Request", "AppExceptions": "Exception", "AppTraces": "Trace", "AppDependencies": "Dependency"}
_SAMPLING = ("logging", "applicationInsights", "samplingSettings")

# All in seconds.
_LONGEST_FUNCTION = 600.0
"""https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout: on the Consumption plan."""
_SHORTEST_FUNCTION = 1.0
_BESIDE_THE_ANSWER = 30.0
_LONGEST_POLLING = 10.0
_SHORTEST_OUTAGE = 30.0
_PATH = re.compile(r"extensions\.queues\.(\w+)")


def check_host(root: Path) -> list[Problem]:
    try:
        document = Document.read(root, HOST)
        queues = HostJson.read(root, {}).queues
    except UnreadableDocumentError as unreadable:
        return [unreadable.problem]
    except HostJsonError as error:
        return [_at(document, str(error).removeprefix(f"{HOST}: "))]
    found = [*check_form(document), *_function_timeout(root, document), *_sampling(root, document)]
    found += _requests(root, document)
    where = ("extensions", "queues")
    if queues.max_polling_interval > _LONGEST_POLLING:
        sentence = f"a turn whose instance ended waits up to {queues.max_polling_interval:g} s to be seen"
        found.append(document.problem(f"{sentence}; at most {_LONGEST_POLLING:g}", *where, "maxPollingInterval"))
    until_poison = queues.visibility_timeout * (queues.max_dequeue_count - 1)
    if until_poison < _SHORTEST_OUTAGE:
        sentence = f"a message is given up {until_poison:g} s after its first failure: storage may be away for longer"
        found.append(document.problem(f"{sentence}, so {_SHORTEST_OUTAGE:g} are needed", *where, "visibilityTimeout"))
    return found


def _at(document: Document, sentence: str) -> Problem:
    named = _PATH.search(sentence)
    return document.problem(sentence, "extensions", "queues", *(named.groups() if named else ()))


def _function_timeout(root: Path, document: Document) -> Iterator[Problem]:
    given = document.value.get("functionTimeout")
    if given is None:
        yield document.problem("functionTimeout is missing: on Consumption a resumed turn would end after 5 minutes")
        return
    try:
        limit = seconds_of(str(given))
    except ValueError as error:
        yield document.problem(f"functionTimeout: {error}", "functionTimeout")
        return
    if not _SHORTEST_FUNCTION <= limit <= _LONGEST_FUNCTION:
        yield document.problem("functionTimeout must be from 1 second to 10 minutes on Consumption", "functionTimeout")
    elif (longest := _highest(root, "turnTimeoutSeconds")) is not None and limit < longest + _BESIDE_THE_ANSWER:
        sentence = f"functionTimeout is {limit:g} s, and a turn may take {longest:g} (turnTimeoutSeconds in {MAIN})"
        sentence += f" and needs {_BESIDE_THE_ANSWER:g} beside its answer: the host would end its worker"
        yield document.problem(sentence, "functionTimeout")


def _requests(root: Path, document: Document) -> Iterator[Problem]:
    """What the host refuses with 429 is a message that nobody answers."""
    http = document.value.get("extensions", {}).get("http")
    http = http if isinstance(http, dict) else {}
    running, waiting = http.get("maxConcurrentRequests"), http.get("maxOutstandingRequests")
    where = ("extensions", "http")
    if not isinstance(running, int) or not isinstance(waiting, int) or not 0 < running <= waiting:
        sentence = "maxConcurrentRequests must be a whole number from 1, and maxOutstandingRequests as much or more"
        yield document.problem(f"extensions.http.{sentence}", *where, "maxConcurrentRequests")
    elif (flex := _highest(root, "flexHttpConcurrency")) is not None and running < flex:
        sentence = f"maxConcurrentRequests is {running}, and flexHttpConcurrency in {MAIN} may be {flex:g}"
        yield document.problem(f"extensions.http.{sentence}", *where, "maxConcurrentRequests")


def _sampling(root: Path, document: Document) -> Iterator[Problem]:
    """Rows are dropped in a storm, which is when the one that an alert looks for is written."""
    settings: Any = document.value
    for key in _SAMPLING:
        settings = settings.get(key, {}) if isinstance(settings, dict) else {}
    given = settings if isinstance(settings, dict) else {}
    if given.get("isEnabled") is False:
        return
    kept = str(given.get("excludedTypes", "")).split(";")
    sampled = sorted(table for table in _asked(root) if table in _TYPES and _TYPES[table] not in kept)
    if sampled:
        sentence = f"an alert asks {sampled[0]}, of which only a sample would be there: {_TYPES[sampled[0]]}"
        yield document.problem(f"{sentence} must be among excludedTypes", *_SAMPLING, "excludedTypes")


def _asked(root: Path) -> set[str]:
    """What cannot be read is another check's to report."""
    try:
        return asked_tables(read(root, ALERTS))
    except (OSError, UnicodeDecodeError):
        return set()


def _highest(root: Path, name: str) -> float | None:
    """That a person can choose in Bicep. What cannot be read is another check's to report."""
    try:
        param = read(root, MAIN).of("param").get(name)
    except (OSError, UnicodeDecodeError):
        return None
    bound = param.decorators.get("maxValue") if param is not None else None
    return float(said(bound[0])) if bound and said(bound[0]).isdigit() else None
