"""Where telemetry is sent."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Destination:
    """Application Insights if there is a `connection_string`, else the console.

    `by_identity`: sign in with the managed identity `client_id`, as a component without local authentication asks for.
    """

    service: str
    version: str
    instance: str
    connection_string: str | None = field(default=None, repr=False)
    by_identity: bool = False
    client_id: str | None = None
