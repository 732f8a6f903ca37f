"""What the ledger and the hand-over add between an activity's arrival and the model's request."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from benchmarks.measure import Effort, Measured, cpu_per_turn
from benchmarks.process import Bot, Fakes, Subject, running
from benchmarks.records import Place, Plan, Turn
from benchmarks.wire import Passed, Wire, relayed

_ROUNDS = 3


def entering(subject: Subject, fakes: Fakes, effort: Effort) -> Measured:
    """The same door with a store and a queue that do nothing, on SQLite and on Azurite, asked in turns.

    One question at a time, in a group chat, where nothing waits for the pacing; each round in conversations of its own.
    """
    with contextlib.ExitStack() as stack:
        nothing = stack.enter_context(running(replace(subject, wrapper=("benchmarks.no_storage",)), fakes))
        sqlite = stack.enter_context(running(subject, fakes))
        bots = {"nothing": nothing, "sqlite": sqlite}
        wire = _azurite(stack, subject, fakes, bots)
        for bot in bots.values():
            _ask(bot, "warm-up", 10)
        waited: dict[str, list[float]] = {name: [] for name in bots}
        on_wire: list[Turn] = []
        for number in range(_ROUNDS):
            for name, bot in bots.items():
                turns = _ask(bot, f"entering-{number}", effort.entered_turns)
                waited[name] += map(before_model, turns)
                on_wire += turns if name == "azurite" else []
        cpu = {name: cpu_per_turn(bot, Plan("", "short", conversations=10, turns=3))[0] for name, bot in bots.items()}
        if wire is not None:
            on_wire += _ask(bots["azurite"], "streamed", effort.entered_streams, "personal")
    return _measured({name: median(each) for name, each in waited.items()}, cpu, wire, on_wire)


def _azurite(stack: contextlib.ExitStack, subject: Subject, fakes: Fakes, bots: dict[str, Bot]) -> Wire | None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    bot, wire = stack.enter_context(on_azurite(subject, fakes))
    bots["azurite"] = bot
    return wire


@contextlib.contextmanager
def on_azurite(subject: Subject, fakes: Fakes) -> Iterator[tuple[Bot, Wire]]:
    """`subject` with its tables and queues in an Azurite of its own, and the wire between the two."""
    from tests.fakes.azurite import Azurite, installed

    with Azurite(installed()) as azurite, relayed({name: azurite.ports[name] for name in ("table", "queue")}) as wire:
        connection = replace(azurite, ports=azurite.ports | wire.ports).connection_string
        with running(subject, fakes, environment={"AzureWebJobsStorage": connection}) as bot:
            yield bot, wire


def _ask(bot: Bot, name: str, turns: int, place: Place = "groupChat") -> list[Turn]:
    return bot.run(Plan("", name, place=place, turns=turns, pause=0.02, first_delay=0, gap=0)).turns


def before_model(turn: Turn) -> float:
    """Milliseconds from the activity's arrival to the model's request."""
    assert turn.model_asked is not None
    return (turn.model_asked - turn.posted) * 1000


def round_trips(turn: Turn, wire: Wire) -> list[Passed]:
    """Those that the turn began before the model was asked; in Azure it is the host that looks for messages."""
    assert turn.model_asked is not None
    return [each for each in wire.between(turn.posted, turn.model_asked) if not _looks_for_messages(each)]


def _looks_for_messages(passed: Passed) -> bool:
    return passed.service == "queue" and passed.method == "GET"


def _measured(waited: dict[str, float], cpu: dict[str, float], wire: Wire | None, on_wire: list[Turn]) -> Measured:
    figures = {f"cpu_{name}": each for name, each in cpu.items()}
    figures |= {"enter_nothing": waited["nothing"], "enter_sqlite": waited["sqlite"] - waited["nothing"]}
    if wire is None:
        return Measured(figures, ("there is no npm to install Azurite with",))
    figures["enter_azurite"] = waited["azurite"] - waited["nothing"]
    figures["trips"] = max(len(round_trips(turn, wire)) for turn in on_wire)
    return Measured(figures)
