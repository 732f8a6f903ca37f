"""The buttons on the card of an incident: who pressed may decide it, and it is done from the queue."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable

from app.common.caller import Caller
from app.content.blocks import Fact, Facts
from app.jobs.chat import decision_sentences as sentences
from app.jobs.chat.incident_decisions import DECISIONS, NOTICES, NotAllowedError, Press, decide
from app.jobs.chat.incident_message import incident_blocks
from app.jobs.chat.job_notice import PRESS, ChatNotifier, JobNotice
from app.jobs.chat.job_viewers import policy_for
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import Person, PolicyOf
from app.messaging.actions import ActionAnswer, CardAction
from app.messaging.job_messages import APPROVE_RETRY, INCIDENT, WRONG_DIAGNOSIS
from app.translation import Sentence, translator_for

CarryOut = Callable[[str], Awaitable[object]]
"""Begins the approved retry of the incident of that id, if nobody has yet; a pass does it too."""

# A press that was accepted in time may stand on the queue for that long.
_QUEUE_SECONDS = 300.0
_MAX_NAME_CHARACTERS = 100


class IncidentActions:
    """Accepts and runs presses of each of `app.messaging.job_messages.JOB_VERBS`, as an
    `app.messaging.actions.ActionHandler` does. `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        incidents: IncidentStore,
        records: DecisionRecords,
        policy_of: PolicyOf,
        notifier: ChatNotifier,
        carry_out: CarryOut,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._incidents = incidents
        self._records = records
        self._policy_of = policy_of
        self._notifier = notifier
        self._carry_out = carry_out
        self._clock = clock

    async def accept(self, action: CardAction) -> ActionAnswer:
        translate = translator_for(action.locale)
        incident = await self._incidents.find(action.data.get(INCIDENT, ""))
        if incident is None:
            return ActionAnswer(translate(sentences.GONE), is_accepted=False)
        press, policy = self._press(action), policy_for(incident, self._policy_of)
        try:
            decided = decide(incident, policy, press, "")
        except NotAllowedError as refusal:
            return ActionAnswer(translate(refusal.sentence, **refusal.values), is_accepted=False)
        said = translate(accepted_sentence(decided, action.verb), name=press.by.name or "–")
        now = Facts((Fact(translate(sentences.NOW), said),))
        # At once for who pressed; everybody's card is edited from the queue.
        return ActionAnswer(said, (now, *incident_blocks(decided, policy, translate)))

    async def run(self, action: CardAction) -> None:
        id, press, notice_id = action.data.get(INCIDENT, ""), self._press(action, _QUEUE_SECONDS), _notice_id(action)
        refusals: list[NotAllowedError] = []

        def change(incident: Incident) -> Incident | None:
            refusals.clear()
            if is_done(incident, press, notice_id):
                return None
            try:
                return decide(incident, policy_for(incident, self._policy_of), press, notice_id)
            except NotAllowedError as refusal:
                refusals.append(refusal)
                return None

        incident = await self._incidents.update(id, change) or await self._incidents.find(id)
        if incident is None:
            return
        if refusals:
            await self._tell_too_late(action, press, refusals[0], notice_id)
            return
        # For all others a pass tells it; told again, under the same id, it changes nothing.
        kind = NOTICES.get(press.verb, "changed")
        await self._notifier.put(JobNotice(id=notice_id, incident=incident.id, what=kind))
        if press.verb == WRONG_DIAGNOSIS:
            await record_wrong_diagnosis(self._records, incident)
        if incident.state is IncidentState.APPROVED:
            await self._carry_out(incident.id)

    async def _tell_too_late(self, action: CardAction, press: Press, refusal: NotAllowedError, notice_id: str) -> None:
        """Of a decision that was accepted: meanwhile another was made outside of the chat, or the job recovered."""
        if press.verb not in DECISIONS:
            return
        translate, chat = translator_for(action.locale), action.conversation
        reason = translate(refusal.sentence, **refusal.values)
        notice = JobNotice(
            id=notice_id,
            incident=action.data.get(INCIDENT, ""),
            what="changed",
            text=translate(sentences.TOO_LATE, name=press.by.name or "–", reason=reason),
            tenant=chat.tenant,
            conversation=chat.conversation,
            locale=action.locale,
        )
        await self._notifier.put(notice)

    def _press(self, action: CardAction, grace_seconds: float = 0.0) -> Press:
        return Press(action.id, action.verb, _person(action.caller), self._clock(), action.data, grace_seconds)


async def record_wrong_diagnosis(records: DecisionRecords, incident: Incident) -> None:
    """Raises `StorageError`."""
    for run in incident.runs:
        changes = {"wrong_diagnosis": len(incident.wrong_diagnosis_by)}
        await records.update(record_key(run.ended_at_seconds, run.key), changes)


def accepted_sentence(decided: Incident, verb: str) -> Sentence:
    if verb == APPROVE_RETRY and decided.proposal is not None and decided.proposal.action == "CANCEL":
        return sentences.CANCEL_ACCEPTED
    return sentences.ACCEPTED[verb]


def _person(caller: Caller) -> Person:
    return Person(caller.tenant_id, caller.entra_object_id, caller.name[:_MAX_NAME_CHARACTERS])


def _notice_id(action: CardAction) -> str:
    """The same whenever the press is run."""
    text = f"{action.conversation.tenant}\0{action.verb}\0{action.id}"
    return f"{PRESS}{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def is_done(incident: Incident, press: Press, notice_id: str) -> bool:
    """An earlier run of this press may have ended before it was told."""
    if any(notice.id == notice_id for notice in incident.notices):
        return True
    by = incident.decided_by
    is_mine = by is not None and by.is_same(press.by.tenant_id, press.by.entra_object_id)
    return is_mine and incident.proposal is not None and incident.proposal.id == press.id and press.verb in DECISIONS
