"""Incidents in PagerDuty, through its Events API v2: an incident of ours is one alert there.

https://developer.pagerduty.com/docs/send-alert-event
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from app.common.iso_time import iso_time
from app.jobs.incidents.incident import IncidentState
from app.jobs.notifications.http_notifier import Post, Target
from app.jobs.notifications.incident_message import IncidentMessage

PAGERDUTY_URL: Final = "https://events.pagerduty.com"
_MAX_SUMMARY_CHARACTERS = 1_024
_MAX_LINKS = 3

EventAction = Literal["trigger", "acknowledge", "resolve"]


def pagerduty_target(routing_key: str, *, url: str = PAGERDUTY_URL) -> Target:
    """`url` is another one in Europe. Raises `ValueError` as `Target` does."""
    return Target(
        "pagerduty",
        f"{url.rstrip('/')}/v2/enqueue",
        lambda message, now: _post(message, routing_key),
        secrets=(routing_key,),
    )


def event_action(message: IncidentMessage) -> EventAction | None:
    """Nobody is woken while a retry is under way; if it fails, the alert is triggered then."""
    if message.kind == "opened" and message.state.is_closed:
        return None
    if message.state.is_closed:
        return "resolve"
    if message.kind == "changed":
        return "acknowledge" if message.is_acknowledged else None
    if message.kind in {"decided", "retry_started"} or not message.needs_person:
        return None
    return "trigger"


def pagerduty_event(message: IncidentMessage, action: EventAction) -> dict[str, Any]:
    """Without the routing key."""
    event: dict[str, Any] = {"event_action": action, "dedup_key": message.incident_id}
    if action != "trigger":
        return event
    details = dict(message.facts)
    if message.error:
        details["Error"] = message.error
    if message.outcome:
        details["Now"] = message.outcome
    summary = f"{message.title} {message.cause}".strip()
    return event | {
        "client": "Databricks job watch",
        "payload": {
            "summary": summary[:_MAX_SUMMARY_CHARACTERS],
            "source": message.workspace or "Databricks",
            "severity": _severity(message),
            "timestamp": iso_time(message.at_seconds),
            "component": message.job_name,
            "class": message.incident_kind,
            "custom_details": details,
        },
        "links": [{"href": url, "text": label} for label, url in message.links[:_MAX_LINKS]],
    }


def _severity(message: IncidentMessage) -> Literal["critical", "error", "warning"]:
    if message.state is IncidentState.ESCALATED:
        return "critical"
    return "error" if message.incident_kind == "failure" else "warning"


def _post(message: IncidentMessage, routing_key: str) -> Post | None:
    action = event_action(message)
    if action is None:
        return None
    return Post(json.dumps({"routing_key": routing_key, **pagerduty_event(message, action)}).encode())
