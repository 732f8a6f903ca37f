"""How requests to the stand-in's Jobs API are read: numbers, limits, page tokens, job parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from app.local.job_runs import JobRun
from app.local.stand_in_replies import RefusedRequestError, invalid_parameter

MAX_ELEMENTS = 100
"""Of each array on a page."""

Json = dict[str, Any]


def page_of(whole: Json, arrays: Sequence[str], request: web.Request) -> Json:
    """Each page has the next elements of all arrays."""
    start = number_of(request, "page_token") or 0
    end = start + MAX_ELEMENTS
    page = {name: value[start:end] if name in arrays else value for name, value in whole.items()}
    has_more = any(len(whole.get(name, ())) > end for name in arrays)
    return {name: value for name, value in page.items() if name not in arrays or value} | (
        {"next_page_token": str(end)} if has_more else {}
    )


def job_parameters(body: Mapping[str, Any]) -> Mapping[str, str]:
    parameters = body.get("job_parameters") or {}
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise RefusedRequestError(400, "MALFORMED_REQUEST", "job_parameters must map names to strings.")
    if parameters and any(name.endswith("_params") for name in body):
        raise invalid_parameter("job_parameters cannot be combined with the parameters of tasks.")
    return parameters


def id_of(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_parameter(f"{name} is needed, as a number.")
    return value


def needed_number(request: web.Request, name: str) -> int:
    number = number_of(request, name)
    if number is None:
        raise invalid_parameter(f"{name} is needed, as a number.")
    return number


def number_of(request: web.Request, name: str) -> int | None:
    value = request.query.get(name)
    if value is None:
        return None
    if not value.isdecimal():
        raise invalid_parameter(f"{name} is not a number.")
    return int(value)


def limit_of(request: web.Request, largest: int, *, default: int) -> int:
    limit = number_of(request, "limit")
    if limit is not None and limit > largest:
        raise invalid_parameter(f"The limit must be at most {largest}.")
    return default if limit is None else limit or largest


def is_true(request: web.Request, name: str) -> bool:
    return request.query.get(name) == "true"


def token_of(run: JobRun) -> str:
    return f"{run.started_at!r}_{run.run_id}"


def cursor_of(token: str | None) -> tuple[float, int] | None:
    if token is None:
        return None
    started_at, _, run_id = token.partition("_")
    try:
        return float(started_at), int(run_id)
    except ValueError:
        raise invalid_parameter("The page token is not valid.") from None
