"""What storing a turn adds between an activity's arrival and the model's request."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from benchmarks.load_records import ConversationType, LoadPlan, TurnTiming
from benchmarks.measure import Effort, MeasuredFigures, cpu_per_turn
from benchmarks.process import Fakes, RunningSubject, Subject, running
from benchmarks.relay import Relay, RelayedRequest, relayed

_ROUNDS = 3


def storage_overhead(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """The same bot with a store and a queue that do nothing, on SQLite and on Azurite, asked alternately.

    One question at a time, in a group chat, where no pacing delays an answer; each round in new conversations.
    """
    with contextlib.ExitStack() as stack:
        nothing = stack.enter_context(running(replace(subject, wrapper=("benchmarks.no_storage",)), fakes))
        sqlite = stack.enter_context(running(subject, fakes))
        bots = {"nothing": nothing, "sqlite": sqlite}
        relay = _azurite(stack, subject, fakes, bots)
        for bot in bots.values():
            _ask(bot, "warm-up", 10)
        waited: dict[str, list[float]] = {name: [] for name in bots}
        azurite_turns: list[TurnTiming] = []
        for number in range(_ROUNDS):
            for name, bot in bots.items():
                turns = _ask(bot, f"storage_overhead-{number}", effort.overhead_turns)
                waited[name] += map(before_model, turns)
                # The first activity of a conversation saves its reference too, which its turn does not wait for.
                azurite_turns += turns[1:] if name == "azurite" else []
        cpu = {
            name: cpu_per_turn(bot, LoadPlan("", "short", conversations=10, turns=3))[0] for name, bot in bots.items()
        }
        if relay is not None:
            azurite_turns += _ask(bots["azurite"], "streamed", effort.overhead_streams + 1, "personal")[1:]
    return _measured({name: median(each) for name, each in waited.items()}, cpu, relay, azurite_turns)


def _azurite(
    stack: contextlib.ExitStack, subject: Subject, fakes: Fakes, bots: dict[str, RunningSubject]
) -> Relay | None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    bot, relay = stack.enter_context(on_azurite(subject, fakes))
    bots["azurite"] = bot
    return relay


@contextlib.contextmanager
def on_azurite(subject: Subject, fakes: Fakes) -> Iterator[tuple[RunningSubject, Relay]]:
    """`subject` with its tables and queues in an Azurite of its own, and the relay between the two."""
    from tests.fakes.azurite import Azurite, installed

    with Azurite(installed()) as azurite, relayed({name: azurite.ports[name] for name in ("table", "queue")}) as relay:
        connection = replace(azurite, ports=azurite.ports | relay.ports).connection_string
        with running(subject, fakes, environment={"AzureWebJobsStorage": connection}) as bot:
            yield bot, relay


def _ask(
    bot: RunningSubject, name: str, turns: int, conversation_type: ConversationType = "groupChat"
) -> list[TurnTiming]:
    return bot.run(
        LoadPlan("", name, conversation_type=conversation_type, turns=turns, pause=0.02, first_delay=0, gap=0)
    ).turns


def before_model(turn: TurnTiming) -> float:
    """Milliseconds from the activity's arrival to the model's request."""
    assert turn.model_asked is not None
    return (turn.model_asked - turn.posted) * 1000


def round_trips(turn: TurnTiming, relay: Relay) -> list[RelayedRequest]:
    """Those that the turn began before the model was asked, without those of the host, which polls the queue."""
    assert turn.model_asked is not None
    return [each for each in relay.between(turn.posted, turn.model_asked) if not _is_polling(each)]


def _is_polling(request: RelayedRequest) -> bool:
    return request.service == "queue" and request.method == "GET"


def _measured(
    waited: dict[str, float], cpu: dict[str, float], relay: Relay | None, azurite_turns: list[TurnTiming]
) -> MeasuredFigures:
    figures = {f"cpu_{name}": each for name, each in cpu.items()}
    figures |= {"enter_nothing": waited["nothing"], "enter_sqlite": waited["sqlite"] - waited["nothing"]}
    if relay is None:
        return MeasuredFigures(figures, ("there is no npm to install Azurite with",))
    figures["enter_azurite"] = waited["azurite"] - waited["nothing"]
    figures["trips"] = max(len(round_trips(turn, relay)) for turn in azurite_turns)
    return MeasuredFigures(figures)
