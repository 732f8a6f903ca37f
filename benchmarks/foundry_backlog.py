"""What 1,000 waiting requests of Foundry's agents cost the people who chat with the same worker meanwhile."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient

from benchmarks.figures import median_and_p95
from benchmarks.load_records import LoadPlan
from benchmarks.measure import Effort, MeasuredFigures
from benchmarks.process import Fakes, RunningSubject, Subject, running

_WAITING = 1_000
_PLAN = LoadPlan("", "chat", conversations=10, turns=4, pause=0.5, first_delay=0.5, gap=0.01, stagger=0.1)
_START_SECONDS = 60.0
_WRITERS = 8


def foundry_backlog(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """Ten people who chat, on Azurite: alone, and while requests wait and four of them are answered at a time.

    The model takes half a second to begin, for both.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        return MeasuredFigures({}, ("there is no npm to install Azurite with",))
    figures: dict[str, float] = {}
    for _ in range(effort.crowds):
        with _on_azurite(subject, fakes) as (bot, connection):
            bot.run(LoadPlan("", "warm-up", conversations=4))
            alone = _first_signs(bot, "alone")
            given = QueueClient.from_connection_string(connection, "azure-function-ask-input")
            sent = QueueClient.from_connection_string(connection, "azure-function-ask-output")
            _write(given)
            _wait_for(sent, 1)
            before, since = _length(sent), time.monotonic()
            beside = _first_signs(bot, "beside")
            answered, took = _length(sent) - before, time.monotonic() - since
            left = _length(given)
        found = {
            "foundry_sign_alone": alone[1],
            "foundry_sign_beside": beside[1],
            "foundry_median_alone": alone[0],
            "foundry_median_beside": beside[0],
            "foundry_per_second": answered / took,
            "foundry_left": float(left),
        }
        figures = {name: min(value, figures.get(name, value)) for name, value in found.items()}
    return MeasuredFigures(figures)


@contextlib.contextmanager
def _on_azurite(subject: Subject, fakes: Fakes) -> Iterator[tuple[RunningSubject, str]]:
    from tests.fakes.azurite import Azurite, installed

    with Azurite(installed()) as azurite:
        connection = azurite.connection_string
        environment = {"AzureWebJobsStorage": connection, "FOUNDRY_TOOLS": "ask", "FOUNDRY_CACHE_SECONDS": "0"}
        with running(subject, fakes, environment=environment) as bot:
            yield bot, connection


def _first_signs(bot: RunningSubject, name: str) -> tuple[float, float]:
    """Median and p95, in milliseconds, from a message's arrival until something is shown."""
    turns = bot.run(replace(_PLAN, name=name)).turns
    return median_and_p95([(turn.sends[0].arrived - turn.posted) * 1000 for turn in turns])


def _write(queue: QueueClient) -> None:
    with contextlib.suppress(ResourceExistsError):
        queue.create_queue()

    def put(number: int) -> None:
        arguments = {"query": f"How many orders are there in region {number}?"}
        queue.send_message(json.dumps({"function_args": arguments, "CorrelationId": f"call_{number}"}))

    with ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(put, range(_WAITING)))


def _wait_for(queue: QueueClient, number: int) -> None:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends:
        if _length(queue) >= number:
            return
        time.sleep(0.2)


def _length(queue: QueueClient) -> int:
    with contextlib.suppress(ResourceNotFoundError):
        return queue.get_queue_properties().approximate_message_count or 0
    return 0
