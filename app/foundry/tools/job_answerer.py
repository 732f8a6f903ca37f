"""`diagnose_job`: why a run of a job failed, from its evidence, explained by a model where there is one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import (
    CredentialError,
    WorkspaceError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceSignInError,
)
from app.foundry.tools.diagnosis_markdown import diagnosis_markdown, nothing_failed_markdown
from app.foundry.tools.foundry_tool import FailedCallError, RefusedCallError, ToolCallContext
from app.foundry.tools.job_lookup import JobLookup
from app.foundry.tools.job_reference import job_reference
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.run_evidence import RunEvidence
from app.telemetry.spans import new_error_id

_log = logging.getLogger(__name__)

_NO_ACCESS = (
    "This agent may not see that job. An administrator, or the job's owner, has to grant its identity CAN VIEW on it."
)
_NO_SIGN_IN = "Databricks did not accept this agent's sign-in. Please tell an administrator (error id {id})."
_BUSY = "The workspace takes no more requests at the moment. Please ask again in a minute (error id {id})."
_NO_REPLY = "The Databricks workspace cannot be reached. Please ask again in a minute (error id {id})."


@dataclass(frozen=True, slots=True)
class JobServices:
    """`workspace_url` is `https://<workspace>`."""

    api: JobsApi
    workspace_url: str
    engine: ErrorDecisionEngine


@dataclass(frozen=True, slots=True)
class JobAnswerer:
    """A `QuestionAnswerer` of names, ids and URLs of jobs and runs. `services` is called with the first one."""

    services: Callable[[], JobServices]

    async def about(self, wanted: str) -> str:
        return ""

    async def answer(self, question: str, about: str, context: ToolCallContext) -> str:
        services = self.services()
        meant = job_reference(question, services.workspace_url)
        try:
            context.progress("Looking up the job")
            found = await JobLookup(services.api).find(meant)
            if found.run is None:
                return nothing_failed_markdown(found)
            context.progress("Reading why it failed")
            evidence = RunEvidence(services.api, services.workspace_url)
            failure = await evidence.failure(found.run.run_id, newer_run=found.newer)
            if failure is None:
                return nothing_failed_markdown(replace(found, last=found.run))
            failure = await evidence.with_edits(failure)
        except WorkspacePermissionError as error:
            raise RefusedCallError(_NO_ACCESS) from error
        except WorkspaceError as error:
            error_id = new_error_id()
            _log.warning("The Jobs API did not answer a call of a tool, error id %s: %s", error_id, error)
            raise FailedCallError(_sentence(error).format(id=error_id)) from error
        context.progress("Finding the cause")
        # What was found out for an equal error before is asked again: it may be about another run.
        services.engine.begin_pass()
        return diagnosis_markdown(failure, await services.engine.decide(failure, JobPolicy()))


def _sentence(error: WorkspaceError) -> str:
    if isinstance(error, CredentialError | WorkspaceSignInError):
        return _NO_SIGN_IN
    return _BUSY if isinstance(error, WorkspaceRateLimitError) else _NO_REPLY
