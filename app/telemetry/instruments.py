"""Every metric: its name, its unit, what it counts.

`gen_ai.*` and their buckets: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

from app.telemetry.span_records import Instrument

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

TURNS = Instrument("agent.turns", "{turn}", "Turns that ended, by channel and outcome")
TURNS_RESUMED = Instrument("agent.turns.resumed", "{turn}", "Turns that went on in another worker, by channel")
HAND_OVERS_MISSING = Instrument(
    "agent.hand_overs.missing", "{turn}", "Turns that could not be handed over: the queue took no message, by failure"
)
CIRCUIT_BREAKER_CHANGES = Instrument(
    "agent.circuit_breaker.changes", "{change}", "Changes of a circuit breaker, by its name and new state"
)
FEEDBACK = Instrument("agent.feedback", "{reaction}", "Feedback on answers, by reaction")
FAILURES = Instrument("agent.failures", "{turn}", "Turns that failed, by kind of failure")
TURN_DURATION = Instrument("agent.turn.duration", "s", "From the activity to the end of its answer", _SECONDS)
TIME_TO_FIRST_UPDATE = Instrument(
    "agent.turn.time_to_first_update", "s", "From the activity to the first thing the person sees", _SECONDS
)
JOB_WATCH_PASSES = Instrument("job_watch.pass", "{pass}", "Passes of the job watch that ended well")
FOUNDRY_REQUESTS = Instrument("foundry.requests", "{request}", "Requests of Foundry's agents, by tool and outcome")
FOUNDRY_REQUEST_AGE = Instrument(
    "foundry.request.age", "s", "How long a request of Foundry's agents had waited when its tool was called", _SECONDS
)
FOUNDRY_REPEATS = Instrument(
    "foundry.repeats", "{message}", "Messages that came or may have been sent more than once, by kind: request, value"
)
FOUNDRY_POISON = Instrument("foundry.poison", "{message}", "Messages of Foundry's agents on a poison queue, by tool")
OPERATION_DURATION = Instrument("gen_ai.client.operation.duration", "s", "Calls to models and tools", _SECONDS)
TOKEN_USAGE = Instrument("gen_ai.client.token.usage", "{token}", "Tokens, as the endpoint counts them", _TOKENS)

INSTRUMENTS = (
    TURNS,
    TURNS_RESUMED,
    HAND_OVERS_MISSING,
    CIRCUIT_BREAKER_CHANGES,
    FEEDBACK,
    FAILURES,
    TURN_DURATION,
    TIME_TO_FIRST_UPDATE,
    JOB_WATCH_PASSES,
    FOUNDRY_REQUESTS,
    FOUNDRY_REQUEST_AGE,
    FOUNDRY_REPEATS,
    FOUNDRY_POISON,
    OPERATION_DURATION,
    TOKEN_USAGE,
)
