"""What is in `function_app.py`, found the way the Azure Functions Python worker finds it."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from azure.functions import FunctionRegister
from azure.functions.decorators.function_app import Function

from app.local.routes import Route, RouteError

FUNCTION_APP = "function_app"
HTTP_TRIGGER = "httpTrigger"


class IndexingError(Exception):
    """The function app cannot be served; `str()` says which function and why."""


@dataclass(frozen=True, slots=True)
class HttpFunction:
    """`methods` is empty for a function that answers every method; `parameter` is the request's name in the code;
    `context` is whether the function asks for the invocation's context.
    """

    name: str
    route: Route
    methods: frozenset[str]
    parameter: str
    context: bool
    code: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class FunctionApp:
    """`not_served` names the functions, with the kind of trigger, that no HTTP request can start."""

    module: ModuleType
    http: tuple[HttpFunction, ...]
    not_served: tuple[str, ...]


def load_function_app(root: Path) -> FunctionApp:
    """Imports `function_app.py` of `root`. Raises `IndexingError`, and whatever the import raises."""
    sys.path.insert(0, str(root))
    return index(importlib.import_module(FUNCTION_APP), route_prefix(root))


def route_prefix(root: Path) -> str:
    """`extensions.http.routePrefix` of host.json, which is `api` unless that says otherwise."""
    try:
        settings = json.loads((root / "host.json").read_text(encoding="utf-8-sig"))
        prefix = settings.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    except FileNotFoundError:
        return "api"
    except (ValueError, AttributeError) as error:
        raise IndexingError(f"host.json is not what the Functions host expects: {error}") from None
    return str(prefix).strip("/")


def index(module: ModuleType, prefix: str) -> FunctionApp:
    """Raises `IndexingError` where the worker would refuse the app."""
    registers = {id(value): value for value in vars(module).values() if isinstance(value, FunctionRegister)}
    if len(registers) != 1:
        raise IndexingError(f"{module.__name__}.py must define one FunctionApp; it defines {len(registers)}")
    try:
        functions = next(iter(registers.values())).get_functions()
    except ValueError as error:
        raise IndexingError(str(error)) from error
    http = [_http_function(function, prefix) for function in functions if _trigger(function) == HTTP_TRIGGER]
    http.sort(key=lambda function: function.route.precedence)
    others = [function for function in functions if _trigger(function) != HTTP_TRIGGER]
    return FunctionApp(
        module, tuple(http), tuple(f"{other.get_function_name()} ({_trigger(other)})" for other in others)
    )


def _trigger(function: Function) -> str:
    trigger = function.get_trigger()
    return str(trigger.type) if trigger else "no trigger"


def _http_function(function: Function, prefix: str) -> HttpFunction:
    name = function.get_function_name() or ""
    binding = next(item for item in function.get_bindings_dict()["bindings"] if item["type"] == HTTP_TRIGGER)
    code = function.get_user_function()
    parameters = set(inspect.signature(code).parameters)
    if parameters - {"context"} != {binding["name"]}:
        raise IndexingError(
            f"function {name} takes ({', '.join(sorted(parameters))}), but its trigger gives ({binding['name']})"
        )
    try:
        route = Route.parse(f"{prefix}/{binding.get('route') or name}")
    except RouteError as error:
        raise IndexingError(f"function {name}: {error}") from None
    methods = frozenset(str(method).upper() for method in binding.get("methods") or ())
    return HttpFunction(name, route, methods, binding["name"], "context" in parameters, code)
