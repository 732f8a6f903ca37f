"""What the stand-in's serving endpoint decides by script about failed runs of jobs, which its tiny model cannot.

It goes by the words of the causing error, without understanding them: `python dev.py evals` tells how far that goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.common.json_values import items, mapping, text

ANSWER_SCHEMA = "decision"
"""The name of the schema by which a question is known."""

_PERMANENT = re.compile(
    r"permission|privilege|denied|unauthorized|forbidden|\b40[134]\b|not found|no such|does not exist|cannot be found"
    r"|cannot be resolved|certificate|schema|constraint|quota|no module|keyerror|valueerror|typeerror|nameerror"
    r"|assertionerror|decodeerror|conflicting dep|no matching",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"out ?of ?memory|memoryerror|heap space|gc overhead|code 137|\boom\b", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"timed? ?out|\b429\b|\b503\b|slow ?down|reset by peer|temporar|unavailable|concurrent (?:update|append|write)"
    r"|invalid session|not ready|preempt|missing an output location|launch_failure|automatic retry: true"
    r"|internal_error|(?:request|run)_limit_exceeded",
    re.IGNORECASE,
)
_VAGUE = frozenset(["", "RUN_EXECUTION_ERROR", "CLUSTER_ERROR", "FAILED"])
_SMALLER = re.compile(r"batch|chunk|rows|limit|size", re.IGNORECASE)
_LARGER = re.compile(r"partition|workers|slices", re.IGNORECASE)
_MAX_CHARACTERS = 20_000


def scripted_decision(messages: Sequence[Mapping[str, Any]], response_format: object) -> str | None:
    """None where no decision about a failed run is asked for. Arguments are those of a chat completions request."""
    schema = mapping(mapping(response_format).get("json_schema"))
    if schema.get("name") != ANSWER_SCHEMA or not messages:
        return None
    try:
        document, _ = json.JSONDecoder().raw_decode(text(messages[-1].get("content")).lstrip())
    except (ValueError, RecursionError):
        return None
    return json.dumps(_decision(mapping(document)))


def _decision(document: Mapping[str, Any]) -> dict[str, Any]:
    tasks = [mapping(task) for task in items(document.get("failed_tasks"))]
    errors = [_told(task)[:_MAX_CHARACTERS] for task in tasks]
    error = errors[0] if errors else ""
    ruled_out = items(document.get("ruled_out"))
    decision, reason, parameters = "ESCALATE_EMAIL", "Nothing says that it would pass by itself.", []
    if _MEMORY.search(error) and not _PERMANENT.search(error):
        reason = "It needs less memory at a time, and no parameter that may be changed does that."
        if parameters := list(_gentler(document)):
            decision, reason = "RETRY_WITH_PARAMS", "Less at a time fits into the memory that the job has."
    elif errors and all(_passes(each) for each in errors) and "RETRY" not in ruled_out:
        decision, reason = "RETRY", "It usually passes by itself."
    line = " ".join(error.split())[:300]
    data_grew = {"text": "The data grew since the job was last green.", "evidence": "the error alone does not tell"}
    return {
        "hypotheses": [{"text": line, "evidence": line}, data_grew],
        "cause": line,
        "decision": decision,
        "reason": reason,
        "suggested_params": parameters,
        "confidence": 0.6,
    }


def _told(task: Mapping[str, Any]) -> str:
    cluster = mapping(task.get("cluster_ended"))
    ended = f"The cluster ended with {text(cluster.get('code'))} ({text(cluster.get('type'))})" if cluster else ""
    code = text(task.get("termination_code"))
    said = [ended, text(task.get("causing_error")) or text(task.get("message")), "" if code in _VAGUE else f"({code})"]
    return "\n".join(filter(None, said))


def _passes(error: str) -> bool:
    if "(SERVICE_FAULT)" in error or "(CLOUD_FAILURE)" in error:
        return True
    return bool(_TRANSIENT.search(error)) and not _PERMANENT.search(error)


def _gentler(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """A fifth of what counts a batch, or five times as many parts, within the bounds."""
    given = mapping(document.get("parameters"))
    for rule in map(mapping, items(document.get("changeable_parameters"))):
        name = text(rule.get("name"))
        value = text(given.get(name))
        if not value.isdecimal() or len(value) > 15:
            continue
        now, least, most = int(value), rule.get("minimum"), rule.get("maximum")
        wanted = now * 5 if _LARGER.search(name) else now // 5 if _SMALLER.search(name) else now
        wanted = min(wanted, int(most)) if isinstance(most, int | float) else wanted
        wanted = max(wanted, int(least)) if isinstance(least, int | float) else wanted
        if wanted != now:
            yield {"name": name, "value": str(wanted)}
