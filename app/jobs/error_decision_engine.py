"""Decides what is done about a failed run: the termination codes first, then a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from app.common.keyed_locks import KeyedLocks
from app.jobs.decisions.completion_client import CompletionClient, TruncatedAnswerError
from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.decisions.decision_question import INSTRUCTIONS, Question, question_about
from app.jobs.decisions.decision_texts import decision_as_dict, failure_of_message
from app.jobs.decisions.model_answer import DECISION_ANSWER, MalformedAnswerError, ModelAnswer, read_answer
from app.jobs.decisions.model_call_budget import ModelCallBudget
from app.jobs.decisions.prior import Prior, prior_of
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.error_fingerprint import error_fingerprint
from app.jobs.runs.run_failure import RunFailure
from app.jobs.synchronous import run_synchronously
from app.models.model_errors import ContentFilteredError, ConversationTooLongError, ModelError
from app.storage.documents import DocumentStore

_log = logging.getLogger(__name__)

MAX_CALLS_PER_HOUR = 60
_MAX_ATTEMPTS = 2
_MAX_OUTAGES_IN_PASS = 2
_ABOUT_THE_QUESTION = (ContentFilteredError, ConversationTooLongError)
"""Failures that say nothing about the next question."""


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """`reason` says to a person why the codes alone decide."""

    reason: str


class ErrorDecisionEngine:
    """Without `ai_client`, or where no model answers, the termination codes alone decide, and the reason says so.

    `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        ai_client: CompletionClient | None = None,
        *,
        clock: Callable[[], float] = time.time,
        max_calls_per_hour: int = MAX_CALLS_PER_HOUR,
    ) -> None:
        self._client = ai_client
        self._budget = ModelCallBudget(max_calls_per_hour, clock)
        self._locks = KeyedLocks()
        self._answers: dict[str, ModelAnswer | _NoAnswer] = {}
        self._outages = 0

    @property
    def model(self) -> str:
        """The name of the model that is asked; empty where the codes alone decide."""
        return "" if self._client is None else self._client.name

    def with_documents(self, documents: DocumentStore) -> ErrorDecisionEngine:
        """The same engine, whose calls count together with those of every process that shares the store."""
        counting = copy(self)
        counting._budget = self._budget.with_documents(documents)
        return counting

    def begin_pass(self) -> None:
        """Forgets what was decided for equal errors in the pass before, and that the model was out of reach."""
        self._answers.clear()
        self._outages = 0

    async def decide(self, failure: RunFailure, policy: JobPolicy, similar: Sequence[SimilarIncident] = ()) -> Decision:
        """Asks the model once for equal errors in a pass. What comes from the model is not yet held to guard rails.
        Raises nothing of its own.
        """
        prior = prior_of(failure)
        if prior.is_final:
            return prior.decision
        question = question_about(failure, policy, prior, similar)
        key = error_fingerprint(failure)
        async with self._locks.of(key):
            if (answer := self._answers.get(key)) is None:
                is_out_of_reach = self._outages >= _MAX_OUTAGES_IN_PASS
                answer = _NoAnswer("the model cannot be reached") if is_out_of_reach else await self._ask(question)
                self._answers[key] = answer
        return _decided(prior, answer, question)

    async def analyze_and_decide_async(
        self, error_message: str, job_context: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """The decision about an error that need not be one of a run, as plain values: `decision`, `reason`, `cause`,
        `suggested_params`, `hypotheses`, `confidence`, `source`, `retry_after_minutes`.

        The parameters are suggestions: only the guard rails of a watched job tell whether they may be set.
        `job_context` may have `termination_code`, `error_trace`, `parameters` and whatever else tells of the job.
        """
        context = job_context or {}
        failure = failure_of_message(error_message, context)
        prior = prior_of(failure)
        if prior.is_final:
            return decision_as_dict(prior.decision)
        question = question_about(failure, JobPolicy(), prior, context=context)
        return decision_as_dict(_decided(prior, await self._ask(question), question))

    def analyze_and_decide(
        self, error_message: str, job_context: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """As `analyze_and_decide_async`; also where an event loop runs."""
        return run_synchronously(
            lambda: self.analyze_and_decide_async(error_message=error_message, job_context=job_context)
        )

    async def _ask(self, question: Question) -> ModelAnswer | _NoAnswer:
        if self._client is None or not self._client.name:
            return _NoAnswer("no model is set up")
        problem = ""
        for _ in range(_MAX_ATTEMPTS):
            if not await self._budget.take():
                return _NoAnswer("the hourly limit of model calls is reached")
            try:
                answer = await self._client.complete(INSTRUCTIONS, question.text + problem, DECISION_ANSWER)
                self._outages = 0
                return read_answer(answer)
            except (MalformedAnswerError, TruncatedAnswerError) as error:
                problem = f"\n\nThe answer before this could not be read: {error}. Answer with the JSON object alone."
            except ModelError as error:
                return self._failed(error)
        _log.warning("The model answered with something that is no decision, twice")
        return _NoAnswer("the answer of the model could not be read")

    def _failed(self, error: ModelError) -> _NoAnswer:
        _log.warning("The model gave no decision about a failed run", exc_info=error)
        if isinstance(error, ContentFilteredError):
            return _NoAnswer("the content filter of the model stopped the question or the answer")
        if not isinstance(error, _ABOUT_THE_QUESTION):
            self._outages += 1
        return _NoAnswer("the model gave no answer")


def _decided(prior: Prior, answer: ModelAnswer | _NoAnswer, question: Question) -> Decision:
    if isinstance(answer, _NoAnswer):
        reason = f"{prior.decision.reason} Decided by the termination codes alone: {answer.reason}."
        return replace(prior.decision, reason=reason)
    action, reason = answer.action, answer.reason
    # Nothing that a log says may make a failure go unseen, or have a run retried that the codes do not call transient.
    allowed = {DecisionAction.ESCALATE_EMAIL, prior.decision.action}
    is_misled = question.had_instructions and action not in allowed
    if action in prior.rules_out or is_misled:
        why = "The log addresses its reader." if is_misled else prior.decision.reason
        action, reason = DecisionAction.ESCALATE_EMAIL, f"{why} {reason}"
    is_retry = action is DecisionAction.RETRY
    return Decision(
        action=action,
        reason=reason,
        cause=answer.cause,
        hypotheses=answer.hypotheses,
        suggested_params=answer.suggested_params if action is DecisionAction.RETRY_WITH_PARAMS else {},
        confidence=answer.confidence,
        source="model",
        delay_seconds=prior.decision.delay_seconds if is_retry else 0.0,
    )
