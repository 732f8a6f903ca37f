"""What somebody decides about an incident in the page: the same as a press on its card in Teams does."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_server.handlers.handler import JsonObject
from agent_server.identity.server_caller import ServerCaller
from agent_server.page.incident_people import IncidentPeople
from agent_server.protocol.api_error import ApiError
from app.databricks.workspace_errors import WorkspaceError
from app.jobs.chat import decision_sentences as sentences
from app.jobs.chat.incident_actions import CarryOut, accepted_sentence, is_done, record_wrong_diagnosis
from app.jobs.chat.incident_decisions import NOTICES, NotAllowedError, Press, decide
from app.jobs.chat.job_notice import PRESS, ChatNotifier, JobNotice
from app.jobs.chat.job_viewers import policy_for
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import JobPolicy, Person, PolicyOf
from app.jobs.notifications.notifier import NotifyError
from app.messaging.job_messages import JOB_VERBS, WRONG_DIAGNOSIS
from app.storage.storage_errors import StorageError
from app.translation import ENGLISH

_Verb = Literal[*JOB_VERBS]  # type: ignore[valid-type]
_Text = Annotated[str, Field(max_length=500)]

_LATER = "It starts with the next pass of the job watch."
_log = logging.getLogger(__name__)


class _Decision(BaseModel):
    """`decision_id` is that of the buttons or of the form, `entered` what the form's inputs hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    verb: _Verb
    decision_id: _Text = ""
    entered: Annotated[dict[_Text, _Text], Field(max_length=20)] = {}


class IncidentDecisions:
    """`begin_retry` begins an approved retry at once; without it the next pass does, wherever it runs. `notifier` tells
    the chats at once. `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        incidents: IncidentStore,
        records: DecisionRecords,
        policy_of: PolicyOf,
        people: IncidentPeople,
        *,
        begin_retry: CarryOut | None = None,
        notifier: ChatNotifier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._incidents = incidents
        self._records = records
        self._policy_of = policy_of
        self._people = people
        self._begin_retry = begin_retry
        self._notifier = notifier
        self._clock = clock
        self._beginning: set[asyncio.Task[None]] = set()

    async def decide(self, caller: ServerCaller, id: str, body: JsonObject) -> tuple[str, Incident]:
        """What to say to the person, and the incident as it is now. The same decision sent again changes nothing.

        Raises `ApiError` and `StorageError`.
        """
        try:
            decision = _Decision.model_validate(body)
        except ValidationError as error:
            fields = ", ".join(sorted({str(each["loc"][0]) if each["loc"] else "body" for each in error.errors()}))
            raise ApiError(400, f"This is no decision about an incident; look at: {fields}.", param="verb") from None
        is_for_everybody = decision.verb == WRONG_DIAGNOSIS
        known = self._people.identify(caller) if is_for_everybody else self._people.check_may_decide(caller)
        press = Press(decision.decision_id, decision.verb, known.person, self._clock(), decision.entered)
        incident = await self._decided(id, press)
        await self._tell(incident, press)
        if press.verb == WRONG_DIAGNOSIS:
            await record_wrong_diagnosis(self._records, incident)
        said = ENGLISH(accepted_sentence(incident, press.verb), name=press.by.name)
        if incident.state is IncidentState.APPROVED:
            if self._begin_retry is None:
                said = f"{said} {_LATER}"
            else:
                task = asyncio.create_task(self._begin(self._begin_retry, incident.id))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)
        return said, incident

    async def close(self) -> None:
        """A retry that is being begun is given up: the next pass, wherever it runs, looks what became of it."""
        for task in self._beginning:
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    async def _decided(self, id: str, press: Press) -> Incident:
        refusals: list[NotAllowedError] = []
        notice_id = _notice_id(id, press)

        def change(incident: Incident) -> Incident | None:
            refusals.clear()
            if is_done(incident, press, notice_id):
                return None
            try:
                return decide(
                    incident, _with_approver(policy_for(incident, self._policy_of), press.by), press, notice_id
                )
            except NotAllowedError as refusal:
                refusals.append(refusal)
                return None

        incident = await self._incidents.update(id, change) or await self._incidents.find(id)
        if incident is None:
            raise ApiError(404, ENGLISH(sentences.GONE), code="incident_not_found")
        if refusals:
            (refusal,) = refusals
            raise ApiError(409, ENGLISH(refusal.sentence, **refusal.values), code="not_decided")
        return incident

    async def _tell(self, incident: Incident, press: Press) -> None:
        if self._notifier is None:
            return
        notice = JobNotice(
            id=_notice_id(incident.id, press), incident=incident.id, what=NOTICES.get(press.verb, "changed")
        )
        try:
            await self._notifier.put(notice)
        except (StorageError, NotifyError) as error:
            _log.warning("Chats are told of a decision by the next pass alone", exc_info=error)

    async def _begin(self, begin_retry: CarryOut, incident_id: str) -> None:
        try:
            await begin_retry(incident_id)
        except (WorkspaceError, StorageError) as error:
            _log.warning("An approved retry could not be begun now; the next pass does", exc_info=error)
        except Exception:
            _log.exception("An approved retry could not be begun")


def _with_approver(policy: JobPolicy, person: Person) -> JobPolicy:
    """Who may decide was asked before."""
    return replace(policy, approvers=(*policy.approvers, person))


def _notice_id(incident_id: str, press: Press) -> str:
    """The same whenever the same person decides the same."""
    by = f"{press.by.tenant_id}\0{press.by.entra_object_id}"
    text = f"{by}\0{incident_id}\0{press.verb}\0{press.id}\0{sorted(press.data.items()) if not press.id else ''}"
    return f"{PRESS}{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
