"""A ticket for each incident that needs a person, in ServiceNow or any program that takes JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from app.jobs.notifications.http_notifier import Post, Target
from app.jobs.notifications.incident_message import IncidentMessage

# The Table API: https://www.servicenow.com/docs/csh?topicname=c_TableAPI.html
SERVICENOW_TEMPLATE: Final = json.dumps(
    {
        "short_description": "{title}",
        "description": "{text}",
        "correlation_id": "{incident}",
        "correlation_display": "Databricks job watch",
        "category": "software",
        "impact": "2",
        "urgency": "2",
    }
)
_MAX_TEMPLATE_CHARACTERS = 8_000
_MAX_PLACEHOLDERS = 50
_PLACEHOLDER = re.compile(r"\{([a-z_]{1,20})\}")
_NAMES: Final = frozenset(
    {"title", "text", "incident", "job", "job_id", "run_id", "runs", "workspace", "cause", "reason", "action"}
    | {"state", "error", "url"}
)


class TicketTemplate:
    """JSON in whose string values `{name}` stands for a value of the incident; the rest of it stays as it is.

    Raises `ValueError` for what is no JSON object, names something unknown, or is too long.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_TEMPLATE_CHARACTERS:
            raise ValueError(f"the template of tickets has more than {_MAX_TEMPLATE_CHARACTERS} characters")
        try:
            self._content = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("the template of tickets is not JSON") from None
        if not isinstance(self._content, dict):
            raise ValueError("the template of tickets is no JSON object")
        used = _PLACEHOLDER.findall(text)
        if unknown := sorted(set(used) - _NAMES):
            raise ValueError(f"the template of tickets names {{{unknown[0]}}}; known are {', '.join(sorted(_NAMES))}")
        if len(used) > _MAX_PLACEHOLDERS:
            raise ValueError(f"the template of tickets has more than {_MAX_PLACEHOLDERS} placeholders")

    def ticket(self, message: IncidentMessage) -> bytes:
        return json.dumps(_filled(self._content, _values(message)), ensure_ascii=False).encode()


def ticket_target(url: str, template: str = "", authorization: str = "") -> Target:
    """Without a template that of ServiceNow. Raises `ValueError` as `TicketTemplate` and `Target` do."""
    tickets = TicketTemplate(template or SERVICENOW_TEMPLATE)
    if not (authorization.isascii() and authorization.isprintable()):
        raise ValueError("the authorization of tickets is no header")
    headers = {"Accept": "application/json"} | ({"Authorization": authorization} if authorization else {})

    def render(message: IncidentMessage, _: float) -> Post | None:
        if not message.needs_person or message.kind in {"changed", "decided"}:
            return None
        return Post(tickets.ticket(message), headers)

    return Target(
        "ticket", url, render, secrets=(authorization, *authorization.split()), may_repeat=False, tells_once=True
    )


def _filled(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: values[match[1]], value)
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    if isinstance(value, dict):
        return {name: _filled(each, values) for name, each in value.items()}
    return value


def _values(message: IncidentMessage) -> Mapping[str, str]:
    parts = [message.title, message.outcome, "\n".join(f"{name}: {value}" for name, value in message.facts)]
    parts += [message.error, "\n".join(f"{label}: {url}" for label, url in message.links)]
    return {
        "title": message.title,
        "text": "\n\n".join(filter(None, parts)),
        "incident": message.incident_id,
        "job": message.job_name,
        "job_id": str(message.job_id),
        "run_id": str(message.run_id),
        "runs": str(message.run_count),
        "workspace": message.workspace,
        "cause": message.cause,
        "reason": message.reason,
        "action": message.action,
        "state": message.state.value,
        "error": message.error,
        "url": message.links[0][1] if message.links else "",
    }
