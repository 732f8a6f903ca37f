"""Who may see incidents in the page, and decide about them.

Databricks forwards no token with rights over jobs, so the server acts as the app, after it has asked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from agent_server.protocol.api_error import ApiError
from app.jobs.job_policy import Person

EVERYBODY: Final = "*"
_TENANT = "apps"
"""In place of that of Microsoft Entra: whom Databricks vouches for is no person of a Teams chat."""


@dataclass(frozen=True, slots=True)
class IncidentPerson:
    person: Person
    may_decide: bool


class IncidentPeople:
    """`approvers` and `viewers` are owners as `ServerCaller` has them."""

    def __init__(self, approvers: tuple[str, ...] = (), viewers: tuple[str, ...] = ()) -> None:
        self._approvers = frozenset(approvers)
        self._viewers = frozenset(viewers)

    def identify(self, caller: ServerCaller) -> IncidentPerson:
        """Raises `ApiError` for somebody who may not see incidents."""
        if caller.owner == LOCAL_OWNER:
            # Who runs the server holds its credentials, and may approve with the command job-watch too.
            return IncidentPerson(Person(_TENANT, caller.owner, "Somebody at the agent server"), may_decide=True)
        may_decide = caller.owner in self._approvers
        if not may_decide and caller.owner not in self._viewers and EVERYBODY not in self._viewers:
            raise ApiError(
                403,
                f"You may not see jobs here. Ask whoever runs this app to add your id, {caller.owner}, to "
                "AGENT_SERVER_JOB_VIEWERS, or to AGENT_SERVER_JOB_APPROVERS so that you may decide too.",
                type="permission_error",
                code="jobs_not_visible",
            )
        return IncidentPerson(Person(_TENANT, caller.owner, caller.name or caller.owner), may_decide)

    def check_may_decide(self, caller: ServerCaller) -> IncidentPerson:
        """Raises `ApiError` for somebody who may not."""
        person = self.identify(caller)
        if not person.may_decide:
            raise ApiError(
                403,
                f"You may look, but not decide. Ask whoever runs this app to add your id, {caller.owner}, to "
                "AGENT_SERVER_JOB_APPROVERS.",
                type="permission_error",
                code="not_an_approver",
            )
        return person
