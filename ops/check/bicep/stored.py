"""Tables and queues: what function_app.py and the app open is what Bicep makes, and nothing else is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ops.check.bicep.opened import Opened, opened, triggered
from ops.check.bicep.source import BicepFile
from ops.check.bicep.values import Placed, Scope, names
from ops.check.problem import Problem

_SERVICES = "Microsoft.Storage/storageAccounts"
_TYPES = {"table": f"{_SERVICES}/tableServices/tables", "queue": f"{_SERVICES}/queueServices/queues"}
# Where the host puts a message that has failed maxDequeueCount times:
# https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages
_POISON = "-poison"
_CONNECTION = "AzureWebJobsStorage"


def check_stored(root: Path, deployed: Iterable[Scope]) -> list[Problem]:
    scopes = list(deployed)
    if not scopes:
        return []
    triggers = list(triggered(root))
    used = [*triggers, *opened(root)]
    found = [*_connections(triggers), *_without_trigger(used, triggers)]
    for kind in _TYPES:
        found += _of_kind(kind, [thing for thing in used if thing.kind == kind], scopes, triggers)
    return found


def _of_kind(kind: str, used: list[Opened], scopes: list[Scope], triggers: list[Opened]) -> Iterator[Problem]:
    made = {place.text: place for place in _made(scopes, _TYPES[kind])}
    for thing in used:
        if thing.name not in made:
            listed = ", ".join(sorted(made)) or "none"
            yield thing.problem(f"there is no {kind} '{thing.name}' in {_file(scopes, kind).name}: {listed}")
    poison = {trigger.name + _POISON for trigger in triggers} if kind == "queue" else set()
    for name in sorted(poison - set(made)):
        queue = made.get(name.removesuffix(_POISON))
        sentence = f"the host moves what fails to the queue '{name}', which is not made here"
        yield _file(scopes, kind).problem(sentence, queue.node if queue is not None else None)
    for name, place in made.items():
        if name not in poison | {thing.name for thing in used}:
            yield place.scope.file.problem(f"nothing uses the {kind} '{name}'", place.node)


def _made(scopes: list[Scope], resource_type: str) -> Iterator[Placed]:
    for scope in scopes:
        for resource in scope.file.resources(resource_type):
            yield from names(scope, resource)


def _file(scopes: list[Scope], kind: str) -> BicepFile:
    """Where one would be made."""
    return next((scope.file for scope in scopes if scope.file.resources(_TYPES[kind])), scopes[0].file)


def _connections(triggers: list[Opened]) -> Iterator[Problem]:
    for trigger in triggers:
        if trigger.connection != _CONNECTION:
            given = f"'{trigger.connection}'" if trigger.connection else "none"
            yield trigger.problem(f"connection of the queue trigger is {given}, and must be '{_CONNECTION}'")


def _without_trigger(used: list[Opened], triggers: list[Opened]) -> Iterator[Problem]:
    """A queue that the app writes to and nobody takes from. One that only the host writes to is a poison queue."""
    taken = {trigger.name for trigger in triggers}
    written: Mapping[str, Opened] = {thing.name: thing for thing in used if thing.kind == "queue"}
    for name, thing in written.items():
        if name not in taken:
            yield thing.problem(f"function_app.py has no queue trigger for '{name}'")
