"""What the model may ask about failed jobs, as the person who asks may see them, and how it proposes a retry."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import Field

from app.common.caller import Caller
from app.databricks.workspace_errors import WorkspaceError
from app.jobs.chat.incident_buttons import DECIDABLE
from app.jobs.chat.incident_threads import IncidentThreads
from app.jobs.chat.job_notice import ChatNotifier, JobNotice
from app.jobs.chat.job_sentences import WORKSPACE_UNAVAILABLE
from app.jobs.chat.job_tool_texts import evidence_text, lateness_line, line_of, table_of
from app.jobs.chat.job_viewers import Asker, Job, JobViewers, UnknownAskerError, policy_for
from app.jobs.clean_text import clean_line
from app.jobs.decisions.compute_parameters import with_declared_names
from app.jobs.decisions.decision import DecisionAction
from app.jobs.decisions.guard_rails import OUT_OF_MEMORY, GuardFacts, guard
from app.jobs.decisions.parameter_rules import allowed_parameters, changeable_parameters
from app.jobs.history.decision_record import PRIMARY, DecisionRecord
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.incidents.incident import PROPOSAL_SECONDS, Incident, IncidentState, PendingNotice, Proposal
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import JobPolicy, PolicyOf, WatchMode
from app.messaging.conversation_references import PRIVATE_THREAD
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_MAX_LISTED = 50
_MAX_READ = 5_000
_RECENT_SECONDS = 7 * 24 * 3600.0
_MAX_INCIDENTS = 5
_MAX_ID_DIGITS = 18
_NAME = 100
_JOB = Field(
    default="",
    max_length=300,
    description="the name or the id of the job; empty for the incident that this thread or chat is about",
)


class Period(ToolArguments):
    hours: int = Field(default=24, ge=1, le=168, description="how many hours to look back from now")


class OfJob(ToolArguments):
    job: str = _JOB


class RetryOfJob(ToolArguments):
    job: str = _JOB
    parameters: dict[str, str] = Field(
        default_factory=dict,
        max_length=20,
        description="job parameters to change, with their new values; none to retry it as it was",
    )


class JobTools:
    """An `app.tools.registry.ToolProvider`. `clock` is in seconds since 1970."""

    def __init__(
        self,
        incidents: IncidentStore,
        records: DecisionRecords,
        threads: IncidentThreads,
        viewers: JobViewers,
        policy_of: PolicyOf,
        notifier: ChatNotifier,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._incidents = incidents
        self._records = records
        self._threads = threads
        self._viewers = viewers
        self._policy_of = policy_of
        self._notifier = notifier
        self._clock = clock

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [
            Tool(
                "list_failed_jobs",
                "Lists runs of Databricks jobs that failed lately, with the cause and what was done about it, and jobs "
                "that are late or run too long now.",
                Period,
                self._list,
                Effect.READ_ONLY,
                title=Sentence("Looking up failed jobs"),
            ),
            Tool(
                "explain_job_failure",
                "Gives the evidence of why a run of a Databricks job failed: errors, traces, hypotheses, parameters, "
                "retries. In the thread of a failed job, leave `job` empty for questions about that failure.",
                OfJob,
                self._explain,
                Effect.READ_ONLY,
                title=Sentence("Reading why a job failed"),
            ),
            Tool(
                "propose_job_retry",
                "Proposes to retry a failed Databricks job, as it was or with other job parameters. Nothing is run "
                "before one of the job's approvers has approved it on the card in the chat. Only parameters that "
                "explain_job_failure names as changeable can be changed; clusters cannot.",
                RetryOfJob,
                self._propose,
                # It runs nothing, and a proposal that is made again is the same one.
                Effect.READ_ONLY,
                title=Sentence("Proposing a retry"),
            ),
        ]

    async def _list(self, period: Period, context: ToolContext) -> ToolOutput:
        asker = await self._asker(context)
        since = self._clock() - period.hours * 3600.0
        newest_first = sorted(
            [each async for each in self._records_since(since)], key=lambda each: each.key, reverse=True
        )
        slow = [each for each in await self._incidents.open() if each.kind != "failure"]
        jobs = [*map(_job_of, slow), *(Job(record.job_id, record.job_name) for record in newest_first)]
        visible = await self._visible(asker, jobs, context)
        shown = [record for record in newest_first if record.job_id in visible]
        lines = [line_of(record) for record in shown[:_MAX_LISTED]]
        lines += [f"[{len(shown) - _MAX_LISTED} more were left out]"] if len(shown) > _MAX_LISTED else []
        lines += [lateness_line(each) for each in slow[:_MAX_LISTED] if each.job_id in visible]
        if not lines:
            return ToolOutput(f"No run of a job that this person may see has failed in the last {period.hours} hours.")
        blocks = (table_of(shown[:_MAX_LISTED], context),) if shown else ()
        return ToolOutput("\n".join(lines), blocks=blocks)

    async def _explain(self, asked: OfJob, context: ToolContext) -> ToolOutput:
        incident = await self._incident(asked.job, context)
        policy = policy_for(incident, self._policy_of)
        from app.jobs.chat.incident_message import incident_blocks  # noqa: PLC0415

        blocks = incident_blocks(incident, policy, context.translate)
        shown = tuple(block for block in blocks if block.kind in {"facts", "folded"})
        return ToolOutput(evidence_text(incident, policy), blocks=shown)

    async def _propose(self, asked: RetryOfJob, context: ToolContext) -> ToolOutput:
        if context.is_scheduled:
            raise ToolError("a scheduled question cannot propose a retry: a person has to ask for it")
        incident = await self._incident(asked.job, context)
        policy = policy_for(incident, self._policy_of)
        parameters = _changed(asked.parameters, incident, policy)
        _check_can_be_retried(incident, policy, parameters)
        now, id = self._clock(), context.idempotency_key[:32]
        notice = PendingNotice(id=f"propose-{id}", kind="proposed", at_seconds=now)
        proposal = Proposal(
            id=id,
            action="RETRY_WITH_PARAMS" if parameters else "RETRY",
            run_id=incident.failure.run_id,
            parameters=parameters,
            expires_at_seconds=now + PROPOSAL_SECONDS,
            reason_not_automatic=f"{clean_line(context.caller.name, _NAME) or 'Somebody'} asked for it in a chat.",
        )

        def change(current: Incident) -> Incident | None:
            if current.proposal is not None and current.proposal.id == id:
                return None
            _check_can_be_retried(current, policy, parameters)
            return current.model_copy(
                update={
                    "state": IncidentState.PROPOSED,
                    "proposal": proposal,
                    "decided_by": None,
                    "changed_at_seconds": now,
                    "notices": (*current.notices, notice),
                }
            )

        await self._incidents.update(incident.id, change)
        told = JobNotice(id=notice.id, incident=incident.id, what="proposed")
        await self._notifier.put(told)
        chat = context.conversation
        if PRIVATE_THREAD not in chat.thread:
            # This chat is told too where it does not watch the job.
            here = {"tenant": chat.tenant, "conversation": chat.conversation, "locale": context.locale}
            await self._notifier.put(told.model_copy(update=here))
        names = ", ".join(clean_line(person.name, _NAME) for person in policy.approvers if person.name)
        changed = ", ".join(f"{name}={value}" for name, value in parameters.items()) or "no parameter changed"
        return ToolOutput(
            f"Proposed: retry run {incident.failure.run_id} of {clean_line(incident.job_name, _NAME)} ({changed}). "
            f"Nothing has been run yet. A card in the chat asks for approval by {names or 'an approver of the job'}."
        )

    async def _asker(self, context: ToolContext) -> Asker:
        try:
            return await self._viewers.identify(context.conversation, context.caller)
        except UnknownAskerError as refusal:
            raise ToolError(str(refusal), sentence=context.translate(refusal.sentence)) from None

    async def _visible(self, asker: Asker, jobs: Iterable[Job], context: ToolContext) -> frozenset[int]:
        try:
            return await self._viewers.visible(asker, jobs)
        except WorkspaceError:
            sentence = context.translate(WORKSPACE_UNAVAILABLE)
            raise ToolError("the workspace did not say which jobs this person may see", sentence=sentence) from None

    async def _incident(self, job: str, context: ToolContext) -> Incident:
        """The newest one of the job that the person may see."""
        asker = await self._asker(context)
        job = " ".join(job.split())
        candidates = await self._of_job(job) if job else await self._of_conversation(context)
        visible = await self._visible(asker, map(_job_of, candidates), context)
        found = [incident for incident in candidates if incident.job_id in visible]
        if not found:
            what = f"of a job {job!r} " if job else "that this conversation is about "
            raise ToolError(
                f"there is no failure {what}that this person may see; list_failed_jobs lists those there are"
            )
        return max(found, key=lambda incident: (not incident.state.is_closed, incident.opened_at_seconds))

    async def _of_conversation(self, context: ToolContext) -> list[Incident]:
        incident = await self._incidents.find(await self._threads.find(context.conversation))
        return [] if incident is None else [incident]

    async def _of_job(self, job: str) -> list[Incident]:
        def is_meant(job_id: int, name: str) -> bool:
            return job == str(job_id) or job.casefold() == name.casefold()

        is_id = job.isascii() and job.isdigit() and len(job) <= _MAX_ID_DIGITS
        unclosed = await (self._incidents.open_of_job(int(job)) if is_id else self._incidents.open())
        found = {each.id: each for each in unclosed if is_id or is_meant(each.job_id, each.job_name)}
        ids = {
            record.incident_id: None
            async for record in self._records_since(self._clock() - _RECENT_SECONDS)
            if is_meant(record.job_id, record.job_name) and record.incident_id
        }
        for id in list(ids)[-_MAX_INCIDENTS:]:
            if id not in found and (incident := await self._incidents.find(id)) is not None:
                found[id] = incident
        return list(found.values())

    async def _records_since(self, since: float) -> AsyncIterator[DecisionRecord]:
        first_key, read = f"{datetime.fromtimestamp(max(since, 0.0), UTC):%Y%m%dT%H%M%S}", 0
        async for record in self._records.between(since, self._clock()):
            read += 1
            if read > _MAX_READ:
                return
            if record.strategy == PRIMARY and record.key >= first_key:
                yield record


def _changed(asked: Mapping[str, str], incident: Incident, policy: JobPolicy) -> dict[str, str]:
    declared = changeable_parameters(incident.failure)
    named = with_declared_names(asked, declared)
    wanted = {name: value for name, value in named.items() if value != declared.get(name)}
    allowed, problems = allowed_parameters(wanted, declared, policy.parameters)
    if problems:
        raise ToolError(" ".join(problems))
    return dict(allowed)


def _job_of(incident: Incident) -> Job:
    return Job(incident.job_id, incident.job_name, incident.job_tags)


def _check_can_be_retried(incident: Incident, policy: JobPolicy, parameters: Mapping[str, str]) -> None:
    """Raises `ToolError`."""
    failure = incident.failure
    if policy.mode is WatchMode.OBSERVE:
        raise ToolError("the watch only observes this job (JOB_WATCH_MODE): nothing can be retried from here")
    if not policy.approvers:
        raise ToolError("nobody may approve a retry of this job yet: JOB_APPROVERS names no one for it")
    if incident.kind != "failure":
        raise ToolError("there is no failed run to retry")
    if incident.state not in DECIDABLE:
        raise ToolError(f"the failure is {incident.state} already")
    action = DecisionAction.RETRY_WITH_PARAMS if parameters else DecisionAction.RETRY
    decision = replace(incident.decision, action=action, suggested_params=parameters)
    retries = max(len(incident.retries), len(failure.repair_ids))
    with_parameters = sum(bool(retry.parameters) for retry in incident.retries)
    # A person may try again what failed after a retry, and while much fails.
    facts = GuardFacts(
        retries=retries,
        retries_with_params=with_parameters,
        same_error_after_our_retry=False,
        failed_jobs_in_pass=0,
        breaker_jobs=1,
    )
    guarded = guard(decision, failure, policy, facts)
    if guarded.decision.action is not action and guarded.rule != OUT_OF_MEMORY:
        raise ToolError(guarded.sentence)
