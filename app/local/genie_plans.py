"""How a message in the stand-in's Genie space goes: every state and failure, by a test or by words of the question."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_ASKED = ("FETCHING_METADATA", "FILTERING_CONTEXT", "ASKING_AI")


@dataclass(frozen=True, slots=True)
class MessagePlan:
    """Each look at the message shows the next of `states`, then the end.

    `held_in`: it stays in this state until `GenieStandIn.release`. `error`: type and text of a failure.
    `refused`: the POST itself is answered 429 so many times before it is accepted.
    """

    states: tuple[str, ...] = (*_ASKED, "EXECUTING_QUERY")
    end: str = "COMPLETED"
    held_in: str | None = None
    error: tuple[str, str] | None = None
    attachments: tuple[str, ...] = ()
    sql: str | None = None
    refused: int = 0


USUAL = MessagePlan()

PLANS = {
    "warehouse starting": replace(USUAL, states=(*_ASKED, *["PENDING_WAREHOUSE"] * 4, "EXECUTING_QUERY")),
    "second try": replace(USUAL, states=(*_ASKED, "EXECUTING_QUERY", "ASKING_AI", "EXECUTING_QUERY")),
    "slow": replace(USUAL, states=(*_ASKED, *["EXECUTING_QUERY"] * 20)),
    "unknown state": replace(USUAL, states=(*_ASKED, "PONDERING", "EXECUTING_QUERY")),
    "cancelled": replace(USUAL, end="CANCELLED"),
    "expired": replace(USUAL, end="QUERY_RESULT_EXPIRED"),
    "never ends": replace(USUAL, held_in="ASKING_AI"),
    "throttled": replace(USUAL, refused=1),
    "sql error": replace(USUAL, sql="SELECT no_such_column FROM samples.tpch.orders"),
    "several queries": replace(USUAL, attachments=("earlier query", "thinking", "verifying")),
    "clarify": replace(USUAL, states=_ASKED, attachments=("clarification",)),
    "no rows": replace(USUAL, sql="SELECT o_orderkey FROM samples.tpch.orders WHERE o_orderkey < 0"),
    "many rows": replace(USUAL, sql="SELECT o_orderkey, o_orderdate, o_totalprice FROM samples.tpch.orders"),
}
"""By the words after `simulate:`. Any type of error is one as well, such as `simulate: CONTENT_FILTER_EXCEPTION`."""

_SIMULATED = re.compile(rf"\bsimulate:\s*({'|'.join(PLANS)}|\w{{1,80}})", re.IGNORECASE)


def planned(question: str) -> tuple[str, MessagePlan]:
    """The question without its words for the stand-in, and the plan that they ask for."""
    match = _SIMULATED.search(question)
    if match is None:
        return question, USUAL
    rest = (question[: match.start()] + question[match.end() :]).strip(" .,;()[]")
    wanted = match[1]
    if plan := PLANS.get(wanted.lower()):
        return rest, plan
    error = wanted.upper()
    return rest, replace(USUAL, states=_ASKED, end="FAILED", error=(error, f"Simulated failure: {error}"))
