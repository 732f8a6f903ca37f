"""host.json, and the environment variables that override it: `AzureFunctionsJobHost__path__to__setting`.

https://learn.microsoft.com/azure/azure-functions/functions-host-json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from app.local.timespan import seconds_of

_OVERRIDE = "azurefunctionsjobhost__"
_MAX_BATCH_SIZE = 32
"""The most messages that Azure Queue storage returns to one request."""


MessageEncoding = Literal["base64", "none"]


class HostJsonError(Exception):
    """host.json, or what overrides it, is not what the Functions host expects; `str()` says which setting and why."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """`extensions.queues`, with its defaults. Times in seconds.

    `lock_seconds` is no setting of host.json: the visibility timeout of a message while its function runs, and so how
    long it stays hidden if the host is killed. Azure's host has 600 (https://github.com/Azure/azure-webjobs-sdk/pull/2172).

    https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_polling_interval_seconds: float = 60.0
    visibility_timeout: float = 0.0
    max_dequeue_count: int = 5
    lock_seconds: float = 30.0
    message_encoding: MessageEncoding = "base64"


@dataclass(frozen=True, slots=True)
class HostJson:
    route_prefix: str = "api"
    queues: QueueOptions = field(default_factory=QueueOptions)

    @classmethod
    def read(cls, root: Path, environment: Mapping[str, str]) -> HostJson:
        """Without the file everything has its default. Raises `HostJsonError`."""
        settings = _lower(_content(root))
        for name, value in environment.items():
            if name.lower().startswith(_OVERRIDE):
                _override(settings, name.lower().split("__")[1:], value)
        http, queues = (_section(settings, "extensions", name) for name in ("http", "queues"))
        return cls(str(http.get("routeprefix", "api")).strip("/"), _queue_options(queues))


def _content(root: Path) -> dict[str, Any]:
    try:
        content = json.loads((root / "host.json").read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise HostJsonError(f"host.json is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise HostJsonError("host.json must hold an object")
    return content


def _lower(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """.NET looks settings up without regard to case."""
    return {name.lower(): _lower(each) for name, each in value.items()} if isinstance(value, dict) else value


def _override(settings: dict[str, Any], path: list[str], value: str) -> None:
    for name in path[:-1]:
        below = settings.setdefault(name, {})
        if not isinstance(below, dict):
            return
        settings = below
    settings[path[-1]] = value


def _section(settings: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    section = settings
    for name in path:
        below = section.get(name, {})
        if not isinstance(below, dict):
            raise HostJsonError(f"host.json: {'.'.join(path)} must be an object")
        section = below
    return section


def _queue_options(section: Mapping[str, Any]) -> QueueOptions:
    batch_size = _integer(section, "batchSize", 16, 1, _MAX_BATCH_SIZE)
    encoding = str(section.get("messageencoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        raise HostJsonError("host.json: extensions.queues.messageEncoding must be base64 or none")
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=_integer(section, "newBatchThreshold", batch_size // 2, 0, 1000),
        max_polling_interval_seconds=_duration(section, "maxPollingInterval", 60.0, least=0.1),
        visibility_timeout=_duration(section, "visibilityTimeout", 0.0, least=0.0),
        max_dequeue_count=_integer(section, "maxDequeueCount", 5, 1, 1000),
        message_encoding=cast(MessageEncoding, encoding),
    )


def _integer(section: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    try:
        value = int(str(section.get(name.lower(), default)))
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise HostJsonError(f"host.json: extensions.queues.{name} must be a whole number from {least} to {most}")
    return value


def _duration(section: Mapping[str, Any], name: str, default: float, *, least: float) -> float:
    if name.lower() not in section:
        return default
    try:
        seconds = seconds_of(str(section[name.lower()]))
    except ValueError as error:
        raise HostJsonError(f"host.json: extensions.queues.{name}: {error}") from None
    if seconds < least:
        raise HostJsonError(f"host.json: extensions.queues.{name} must be {least:g} s or more")
    return seconds
