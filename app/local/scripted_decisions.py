"""What the stand-in's serving endpoint decides about a failed run: by script, as its tiny model cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_SMALLER_BATCH = "10000"


def scripted_decision(messages: Sequence[Mapping[str, Any]], response_format: object) -> str | None:
    """None for what is no question about a failed run. `response_format` is that of a chat completions request."""
    schema = response_format.get("json_schema") if isinstance(response_format, Mapping) else None
    if not isinstance(schema, Mapping) or schema.get("name") != "decision":
        return None
    evidence, _ = json.JSONDecoder().raw_decode(str(messages[-1].get("content") or ""))
    tasks = evidence.get("failed_tasks") or [{}]
    error = str(tasks[0].get("causing_error") or tasks[0].get("message") or "The run failed")
    changeable = [each.get("name") for each in evidence.get("changeable_parameters") or []]
    line = error.partition("\n")[0][:200]
    if "OutOfMemoryError" in error and "batch_size" in changeable:
        return _decision(
            "RETRY_WITH_PARAMS",
            "The Java heap is too small for a batch of this size.",
            "A smaller batch fits into the memory that the job has.",
            line,
            [{"name": "batch_size", "value": _SMALLER_BATCH}],
        )
    return _decision("ESCALATE_EMAIL", line, "Somebody who knows the job has to look at it.", line, [])


def _decision(action: str, cause: str, reason: str, evidence: str, parameters: Sequence[Mapping[str, str]]) -> str:
    hypotheses = [
        {"text": cause, "evidence": evidence},
        {"text": "The data grew since the job was last green.", "evidence": "the error alone does not tell"},
    ]
    return json.dumps(
        {
            "hypotheses": hypotheses,
            "cause": cause,
            "decision": action,
            "reason": reason,
            "suggested_params": parameters,
            "confidence": 0.8,
        }
    )
