"""`python -m benchmarks.function_tools`: what people wait for while a function's queues answer, hang and break off.

Six conversations ask a function with each question, four others the model alone. All of it is on one Azurite, behind a
relay that disturbs the function's queues and no others.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from statistics import median

from azure.core.exceptions import AzureError
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from benchmarks.figures import percentile
from benchmarks.load_records import LoadPlan, TurnTiming
from benchmarks.process import OURS, Fakes, RunningSubject, running, running_fakes
from benchmarks.relay import Relay, relayed
from tests.fakes.azurite import Azurite, installed

_CALLERS = 6
_OTHERS = 4
_ROUNDS = 4
_SECONDS = 8.0
_LIMIT_SECONDS = 12
_DISTURBANCES = {
    "the function answers": (False, False),
    "its queues hang": (True, False),
    "its queues break off": (False, True),
}


def main() -> None:
    measured: dict[str, list[TurnTiming]] = {name: [] for name in _DISTURBANCES}
    with running_fakes() as fakes, _bot(fakes) as (bot, relay):
        plan = LoadPlan("", "warm-up", conversations=_CALLERS + _OTHERS, function_conversations=_CALLERS, turn_limit=90)
        bot.run(replace(plan, turns=2))
        # In turn, so that a busy minute of the machine affects them all.
        for number in range(_ROUNDS):
            for name, (relay.hangs, relay.breaks_off) in _DISTURBANCES.items():
                name_of_run = f"{name.replace(' ', '-')}-{number}"
                measured[name] += bot.run(replace(plan, name=name_of_run, duration=_SECONDS)).turns
    for name, turns in measured.items():
        _report(name, turns)


def _report(name: str, turns: list[TurnTiming]) -> None:
    asked = [turn for turn in turns if turn.tools_called is not None]
    signs = [(turn.sends[0].arrived - turn.posted) * 1000 for turn in turns if turn.tools_called is None]
    ends = [turn.final.arrived - turn.posted for turn in asked if turn.final is not None]
    print(
        f"{name}: {len(signs)} questions of others, first sign {median(signs):.0f} ms, p95 "
        f"{percentile(signs, 0.95):.0f} ms; {len(ends)} asked the function, answered after {median(ends):.1f} s",
        flush=True,
    )


@contextmanager
def _bot(fakes: Fakes) -> Iterator[tuple[RunningSubject, Relay]]:
    with Azurite(installed()) as azurite, relayed({each: azurite.ports[each] for each in ("table", "queue")}) as relay:
        relay.faulty = "/fn-"
        disturbed = replace(azurite, ports=azurite.ports | relay.ports)
        function = {
            "name": "weather",
            "description": "The weather in a city.",
            "endpoint": disturbed.address("queue"),
            "input_queue": "fn-questions",
            "output_queue": "fn-answers",
            "timeout_seconds": _LIMIT_SECONDS,
            "reads_only": True,
        }
        environment = {
            "AzureWebJobsStorage": disturbed.connection_string,
            "FUNCTION_TOOLS": json.dumps([function]),
        }
        with _function(azurite.connection_string), running(OURS, fakes, environment=environment) as bot:
            yield bot, relay


@contextmanager
def _function(connection_string: str) -> Iterator[None]:
    """The other side, which answers at once, until the context ends."""
    over = threading.Event()

    def opened(name: str) -> QueueClient:
        encodes, decodes = TextBase64EncodePolicy(), TextBase64DecodePolicy()
        return QueueClient.from_connection_string(
            connection_string, name, message_encode_policy=encodes, message_decode_policy=decodes
        )

    questions, answers = opened("fn-questions"), opened("fn-answers")
    for queue in (questions, answers):
        queue.create_queue()

    def serve() -> None:
        while not over.wait(0.05):
            with suppress(AzureError):
                for message in questions.receive_messages(messages_per_page=32):
                    id = json.loads(message.content)["CorrelationId"]
                    answers.send_message(json.dumps({"Value": "Sunny", "CorrelationId": id}))
                    questions.delete_message(message)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
