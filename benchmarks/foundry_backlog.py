"""What 1,000 waiting requests of Foundry's agents cost the people who chat with the same worker meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import SecretStr

from app.storage.factory import open_storage
from app.storage.storage_account import StorageAccount
from benchmarks.figures import median_and_p95
from benchmarks.load_records import LoadPlan
from benchmarks.measure import Effort, MeasuredFigures
from benchmarks.process import Fakes, RunningSubject, Subject, running

_WAITING = 1_000
_PLAN = LoadPlan("", "chat", conversations=10, turns=4, pause=0.5, first_delay=0.5, gap=0.01, stagger=0.1)
_WRITERS = 16
# What comes with a worker's first request has been imported by then, and as many wait in it as ever do.
_ANSWERED_BEFORE = 20
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the queues are, and the settings that say so to the subject."""

    storage: Path | StorageAccount
    environment: Mapping[str, str]


def foundry_backlog(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """Ten people who chat: alone, and while requests wait and four of them are answered at a time. The model takes
    half a second to begin, for both. On SQLite, and on Azurite, which shares the machine with them.
    """
    figures: dict[str, float] = {}
    for kind, place in {"sqlite": _file, "azurite": _azurite}.items():
        if kind == "azurite" and (shutil.which("npm") is None or shutil.which("node") is None):
            return MeasuredFigures(figures, ("there is no npm to install Azurite with",))
        with place() as at:
            figures |= {f"backlog_{name}_{kind}": value for name, value in _measured(subject, fakes, at).items()}
    return MeasuredFigures(figures)


def _measured(subject: Subject, fakes: Fakes, place: _Place) -> dict[str, float]:
    chosen = {"FOUNDRY_TOOLS": "ask", "FOUNDRY_CACHE_SECONDS": "0"}
    with running(subject, fakes, environment={**place.environment, **chosen}) as bot:
        bot.run(LoadPlan("", "warm-up", conversations=4))
        alone = _first_signs(bot, "alone")
        asyncio.run(_write(place.storage))
        _wait_for_answers(place.storage)
        since = time.monotonic()
        beside = _first_signs(bot, "beside")
        took = time.monotonic() - since
        answered = asyncio.run(_take_answers(place.storage))
    return {
        "median_alone": alone[0],
        "median_beside": beside[0],
        "p95_alone": alone[1],
        "p95_beside": beside[1],
        "answered": answered / took,
    }


def _first_signs(bot: RunningSubject, name: str) -> tuple[float, float]:
    """Median and p95, in milliseconds, from a message's arrival until something is shown."""
    turns = bot.run(replace(_PLAN, name=name)).turns
    return median_and_p95([(turn.sends[0].arrived - turn.posted) * 1000 for turn in turns])


async def _write(place: Path | StorageAccount) -> None:
    storage = open_storage(place)
    queue, writing = storage.open_queue("azure-function-ask-input"), asyncio.Semaphore(_WRITERS)

    async def put(number: int) -> None:
        arguments = {"query": f"How many orders are there in region {number}?"}
        body = json.dumps({"function_args": arguments, "CorrelationId": f"call_{number}"})
        async with writing:
            await queue.put(body, visibility_timeout=0)

    await asyncio.gather(*map(put, range(_WAITING)))
    await queue.close()
    await storage.close()


def _wait_for_answers(place: Path | StorageAccount) -> None:
    count, ends = 0, time.monotonic() + _START_SECONDS
    while count < _ANSWERED_BEFORE and time.monotonic() < ends:
        time.sleep(0.5)
        count += asyncio.run(_take_answers(place))


async def _take_answers(place: Path | StorageAccount) -> int:
    """How many were on the output queue that nobody had taken before."""
    storage = open_storage(place)
    queue, count = storage.open_queue("azure-function-ask-output"), 0
    while received := await queue.receive(32, visibility_timeout=3600):
        count += len(received)
    await queue.close()
    await storage.close()
    return count


@contextlib.contextmanager
def _file() -> Iterator[_Place]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield _Place(Path(folder) / "conversations.sqlite", {"DATA_DIR": folder})


@contextlib.contextmanager
def _azurite() -> Iterator[_Place]:
    from tests.fakes.azurite import Azurite, installed

    with Azurite(installed()) as azurite:
        connection = azurite.connection_string
        yield _Place(StorageAccount(SecretStr(connection)), {"AzureWebJobsStorage": connection})
