"""What keeps people's feedback on a trace."""

from __future__ import annotations

from typing import Protocol

from app.databricks.mlflow_assessments import HumanFeedback


class Assessments(Protocol):
    """`app.databricks.mlflow_assessments.MlflowAssessments` is one. `source_id` is a person's pseudonym.

    All methods raise `app.databricks.workspace_errors.WorkspaceError`: `WorkspaceNotFoundError` where there is no such
    trace, or not yet.
    """

    async def create(self, trace_id: str, feedback: HumanFeedback) -> str:
        """The id of the new assessment."""
        ...

    async def find(self, trace_id: str, source_id: str) -> str | None:
        """The id of the newest feedback of that source."""
        ...

    async def update(self, trace_id: str, assessment_id: str, feedback: HumanFeedback) -> None: ...

    async def delete(self, trace_id: str, assessment_id: str) -> None: ...
