"""The functions in `function_app.py`, found as the Azure Functions Python worker finds them."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from azure.functions import AuthLevel, DataType, FunctionRegister, QueueMessage, TimerRequest
from azure.functions.decorators.function_app import Function

from app.local.routes import Route, RouteError
from app.local.schedule import Schedule, ScheduleError

FUNCTION_APP = "function_app"
HTTP_TRIGGER = "httpTrigger"
QUEUE_TRIGGER = "queueTrigger"
TIMER_TRIGGER = "timerTrigger"

# https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata#queue-names
_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")
_SETTING = re.compile(r"%([^%]+)%")


class IndexingError(Exception):
    """The function app cannot be served; `str()` says which function and why."""


@dataclass(frozen=True, slots=True)
class HttpFunction:
    """`methods` is empty for a function that answers every method; `parameter` is the request's name in the code;
    `context` is whether the function asks for the invocation's context, `needs_key` whether callers need the key.
    """

    name: str
    route: Route
    methods: frozenset[str]
    needs_key: bool
    parameter: str
    context: bool
    code: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class QueueFunction:
    """`connection` is the name of the setting, or the group of settings, that says where the queue is. `binary`: the
    function asks for bytes.
    """

    name: str
    queue: str
    connection: str
    parameter: str
    context: bool
    code: Callable[..., Any]
    binary: bool = False


@dataclass(frozen=True, slots=True)
class TimerFunction:
    """`monitored`: a time that passed while no host ran is made up for at the next start."""

    name: str
    schedule: Schedule
    run_on_startup: bool
    monitored: bool
    parameter: str
    context: bool
    code: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class FunctionApp:
    """`not_served` names the functions, with the kind of trigger, that this host cannot start."""

    module: ModuleType
    http: tuple[HttpFunction, ...]
    queues: tuple[QueueFunction, ...]
    timers: tuple[TimerFunction, ...]
    not_served: tuple[str, ...]


def load_function_app(root: Path, prefix: str) -> FunctionApp:
    """Imports `function_app.py` of `root`. Raises `IndexingError`, and what the import raises."""
    sys.path.insert(0, str(root))
    return index(importlib.import_module(FUNCTION_APP), prefix)


def index(module: ModuleType, prefix: str, environment: Mapping[str, str] = os.environ) -> FunctionApp:
    """Raises `IndexingError` where the worker, or the host, would refuse the app."""
    registers = {id(value): value for value in vars(module).values() if isinstance(value, FunctionRegister)}
    if len(registers) != 1:
        raise IndexingError(f"{module.__name__}.py must define one FunctionApp; it defines {len(registers)}")
    try:
        functions = next(iter(registers.values())).get_functions()
    except ValueError as error:
        raise IndexingError(str(error)) from error
    by_trigger: dict[str, list[Function]] = {}
    for function in functions:
        by_trigger.setdefault(_trigger(function), []).append(function)
    http = [_http_function(function, prefix) for function in by_trigger.pop(HTTP_TRIGGER, ())]
    http.sort(key=lambda function: function.route.precedence)
    queues = [_queue_function(function, environment) for function in by_trigger.pop(QUEUE_TRIGGER, ())]
    timers = [_timer_function(function, environment) for function in by_trigger.pop(TIMER_TRIGGER, ())]
    others = [f"{other.get_function_name()} ({trigger})" for trigger, others in by_trigger.items() for other in others]
    return FunctionApp(module, tuple(http), tuple(queues), tuple(timers), tuple(others))


def _trigger(function: Function) -> str:
    trigger = function.get_trigger()
    return str(trigger.type) if trigger else "no trigger"


def _http_function(function: Function, prefix: str) -> HttpFunction:
    name, binding, context = _binding(function)
    try:
        route = Route.parse(f"{prefix}/{binding.get('route') or name}")
    except RouteError as error:
        raise IndexingError(f"function {name}: {error}") from None
    methods = frozenset(str(method).upper() for method in binding.get("methods") or ())
    needs_key = binding.get("authLevel") is not AuthLevel.ANONYMOUS
    return HttpFunction(name, route, methods, needs_key, binding["name"], context, function.get_user_function())


def _queue_function(function: Function, environment: Mapping[str, str]) -> QueueFunction:
    name, binding, context = _binding(function)
    _check_annotation(function, binding["name"], QueueMessage)
    queue = _resolved(name, str(binding["queueName"] or ""), environment).lower()
    if not _QUEUE_NAME.fullmatch(queue):
        raise IndexingError(
            f"function {name}: {queue!r} is not a valid queue name; "
            "it needs 3 to 63 lowercase letters, digits and single hyphens"
        )
    connection = str(binding["connection"] or "AzureWebJobsStorage")
    binary = binding.get("dataType") is DataType.BINARY
    return QueueFunction(name, queue, connection, binding["name"], context, function.get_user_function(), binary)


def _timer_function(function: Function, environment: Mapping[str, str]) -> TimerFunction:
    name, binding, context = _binding(function)
    _check_annotation(function, binding["name"], TimerRequest)
    try:
        schedule = Schedule.parse(_resolved(name, str(binding["schedule"] or ""), environment))
    except ScheduleError as error:
        raise IndexingError(f"function {name}: {error}") from None
    return TimerFunction(
        name,
        schedule,
        run_on_startup=binding.get("runOnStartup") is True,
        monitored=binding.get("useMonitor") is not False,
        parameter=binding["name"],
        context=context,
        code=function.get_user_function(),
    )


def _binding(function: Function) -> tuple[str, dict[str, Any], bool]:
    """The function's name, its trigger's binding, and whether it asks for the context."""
    name = function.get_function_name() or ""
    trigger = _trigger(function)
    binding = next(item for item in function.get_bindings_dict()["bindings"] if item["type"] == trigger)
    parameters = set(inspect.signature(function.get_user_function()).parameters)
    if parameters - {"context"} != {binding["name"]}:
        raise IndexingError(
            f"function {name} takes ({', '.join(sorted(parameters))}), but its trigger gives ({binding['name']})"
        )
    return name, binding, "context" in parameters


def _check_annotation(function: Function, parameter: str, given: type) -> None:
    name = function.get_function_name()
    try:
        annotation = get_type_hints(function.get_user_function()).get(parameter, given)
    except NameError as error:
        raise IndexingError(f"function {name}: its annotations cannot be read: {error}") from None
    if not (isinstance(annotation, type) and issubclass(annotation, given)):
        raise IndexingError(f"function {name}: {parameter} is given as azure.functions.{given.__name__}")


def _resolved(name: str, text: str, environment: Mapping[str, str]) -> str:
    """With every `%SETTING%` replaced by its value."""
    missing = [setting for setting in _SETTING.findall(text) if not environment.get(setting)]
    if missing:
        raise IndexingError(f"function {name}: {text!r} names the setting {missing[0]}, which is not set")
    return _SETTING.sub(lambda setting: environment[setting[1]], text)
