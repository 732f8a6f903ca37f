"""Feedback of people at traces, through MLflow's client: for SQL stores and tracking servers outside the workspace.

For the workspace's own MLflow there is `app.databricks.mlflow_assessments`, which this one stands in for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from app.databricks.mlflow_assessments import ASSESSMENT_NAME, HumanFeedback
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceRequestError,
    WorkspaceTimeoutError,
)

if TYPE_CHECKING:
    from mlflow.entities import Feedback

T = TypeVar("T")

_TIME_LIMIT_SECONDS = 30.0
_REFUSED: dict[int, type[WorkspaceError]] = {
    400: WorkspaceRequestError,
    401: WorkspacePermissionError,
    403: WorkspacePermissionError,
    404: WorkspaceNotFoundError,
    429: WorkspaceRateLimitError,
}


class StoreAssessments:
    """All methods raise `WorkspaceError`: `WorkspaceNotFoundError` also where the trace is not written yet."""

    async def create(self, trace_id: str, feedback: HumanFeedback) -> str:
        """The id of the new assessment."""

        def create() -> str:
            from mlflow.tracing.client import TracingClient  # noqa: PLC0415

            assessment = _feedback(feedback)
            assessment.trace_id = trace_id
            # `log_assessment` would add it to a trace that is still recorded, whose id it would not have yet.
            return str(TracingClient().store.create_assessment(assessment).assessment_id)

        return await _ask(create)

    async def find(self, trace_id: str, source_id: str) -> str | None:
        """The id of the newest feedback of that source; None if the trace has none."""

        def find() -> str | None:
            from mlflow.tracing.client import TracingClient  # noqa: PLC0415

            for assessment in reversed(TracingClient().get_trace_info(trace_id).assessments):
                if (assessment.name, assessment.source.source_id) == (ASSESSMENT_NAME, source_id):
                    return str(assessment.assessment_id)
            return None

        return await _ask(find)

    async def update(self, trace_id: str, assessment_id: str, feedback: HumanFeedback) -> None:
        """In place: feedback that is overridden by a new one would still be counted."""

        def update() -> None:
            from mlflow.tracing.client import TracingClient  # noqa: PLC0415

            TracingClient().update_assessment(trace_id, assessment_id, _feedback(feedback))

        await _ask(update)

    async def delete(self, trace_id: str, assessment_id: str) -> None:
        def delete() -> None:
            from mlflow.tracing.client import TracingClient  # noqa: PLC0415

            TracingClient().delete_assessment(trace_id, assessment_id)

        await _ask(delete)


def _feedback(feedback: HumanFeedback) -> Feedback:
    from mlflow.entities import AssessmentSource, Feedback  # noqa: PLC0415

    source = AssessmentSource("HUMAN", feedback.source_id)
    return Feedback(ASSESSMENT_NAME, feedback.is_positive, source=source, rationale=feedback.comment)


async def _ask(call: Callable[[], T]) -> T:
    try:
        async with asyncio.timeout(_TIME_LIMIT_SECONDS):
            return await asyncio.to_thread(_translated, call)
    except TimeoutError:
        raise WorkspaceTimeoutError("MLflow did not answer in time") from None


def _translated(call: Callable[[], T]) -> T:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        return call()
    except MlflowException as error:
        kind = _REFUSED.get(error.get_http_status_code(), WorkspaceInterruptedError)
        # Its own text may quote the comment.
        raise kind(f"MLflow: {error.error_code}") from None
    except OSError as error:
        raise WorkspaceInterruptedError(f"MLflow: {type(error).__name__}") from None
