"""What people say of a trace, as MLflow keeps it: https://mlflow.org/docs/latest/genai/assessments/feedback

Traces that are kept in Unity Catalog (`trace:/<catalog>.<schema>/<id>`) have an API of their own, version 4.0, whose
body is the assessment itself. All methods raise `app.databricks.workspace_errors.WorkspaceError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from app.common.json_values import items, mapping, text
from app.databricks.workspace_client import WorkspaceClient, api_path
from app.databricks.workspace_errors import WorkspaceReplyError

Json = Mapping[str, Any]

ASSESSMENT_NAME = "user_feedback"
_V3 = "/api/3.0/mlflow/traces"
_V4 = "/api/4.0/mlflow/traces"
_IN_UNITY_CATALOG = "trace:/"
_UPDATED_FIELDS = "feedback,rationale"
_TIME_LIMIT_SECONDS = 10.0
_MAX_TRACE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HumanFeedback:
    """`source_id` says who, for whoever reads the trace: a pseudonym."""

    is_positive: bool
    comment: str
    source_id: str


class MlflowAssessments:
    """`warehouse_id` is the SQL warehouse through which traces in Unity Catalog are read and written."""

    def __init__(self, workspace: WorkspaceClient, *, warehouse_id: str = "") -> None:
        self._workspace = workspace
        self._warehouse_id = warehouse_id

    async def create(self, trace_id: str, feedback: HumanFeedback) -> str:
        """The id of the new assessment. Not repeated where the outcome is unknown: MLflow would keep both."""
        trace, now = _Trace.of(trace_id), datetime.now(UTC).isoformat()
        assessment: dict[str, Any] = {
            **_fields_of(feedback),
            **trace.fields,
            "assessment_name": ASSESSMENT_NAME,
            "source": {"source_type": "HUMAN", "source_id": feedback.source_id},
            # As MLflow's own client sends them.
            "create_time": now,
            "last_update_time": now,
        }
        path = api_path(trace.path, "assessments")
        reply = await self._request("POST", path, trace, trace.body(assessment))
        created = mapping(reply.get("assessment")) or reply
        if not (assessment_id := text(created.get("assessment_id"))):
            raise WorkspaceReplyError(f"POST {path}: an assessment without an id")
        return assessment_id

    async def find(self, trace_id: str, source_id: str) -> str | None:
        """The id of the newest feedback of that source; None if the trace has none."""
        trace = _Trace.of(trace_id)
        path = api_path(trace.path, "info") if trace.in_unity_catalog else trace.path
        told = mapping((await self._request("GET", path, trace)).get("trace"))
        info = mapping(told.get("trace_info")) or mapping(told.get("info"))
        for assessment in reversed([mapping(each) for each in items(info.get("assessments"))]):
            by = mapping(assessment.get("source")).get("source_id")
            if (assessment.get("assessment_name"), by) == (ASSESSMENT_NAME, source_id):
                return text(assessment.get("assessment_id")) or None
        return None

    async def update(self, trace_id: str, assessment_id: str, feedback: HumanFeedback) -> None:
        """In place: feedback that is overridden by a new one would still be counted."""
        trace = _Trace.of(trace_id)
        assessment = {**_fields_of(feedback), **trace.fields, "assessment_id": assessment_id}
        path = api_path(trace.path, "assessments", assessment_id)
        body = trace.body(assessment)
        query = {"update_mask": _UPDATED_FIELDS} if trace.in_unity_catalog else {}
        if not trace.in_unity_catalog:
            body["update_mask"] = _UPDATED_FIELDS
        await self._request("PATCH", path, trace, body, query, idempotent=True)

    async def delete(self, trace_id: str, assessment_id: str) -> None:
        trace = _Trace.of(trace_id)
        await self._request("DELETE", api_path(trace.path, "assessments", assessment_id), trace)

    async def _request(
        self,
        method: Literal["GET", "POST", "PATCH", "DELETE"],
        path: str,
        trace: _Trace,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        *,
        idempotent: bool = False,
    ) -> Json:
        asked = dict(query or {})
        if trace.in_unity_catalog and self._warehouse_id:
            asked["sql_warehouse_id"] = self._warehouse_id
        return await self._workspace.request(
            method,
            path,
            query=asked or None,
            json_body=body,
            time_limit_seconds=_TIME_LIMIT_SECONDS,
            idempotent=idempotent,
            max_reply_bytes=_MAX_TRACE_BYTES,
        )


@dataclass(frozen=True, slots=True)
class _Trace:
    id: str
    location: str = ""

    @classmethod
    def of(cls, trace_id: str) -> _Trace:
        if not trace_id.startswith(_IN_UNITY_CATALOG):
            return cls(trace_id)
        location, _, id = trace_id.removeprefix(_IN_UNITY_CATALOG).partition("/")
        return cls(id, location)

    @property
    def in_unity_catalog(self) -> bool:
        return bool(self.location)

    @property
    def path(self) -> str:
        return api_path(_V4, self.location, self.id) if self.location else api_path(_V3, self.id)

    @property
    def fields(self) -> dict[str, Any]:
        if not self.location:
            return {"trace_id": self.id}
        catalog, _, rest = self.location.partition(".")
        schema, _, prefix = rest.partition(".")
        place = {"catalog_name": catalog, "schema_name": schema}
        if prefix:
            where = {"type": "UC_TABLE_PREFIX", "uc_table_prefix": {**place, "table_prefix": prefix}}
        else:
            where = {"type": "UC_SCHEMA", "uc_schema": place}
        return {"trace_id": self.id, "trace_location": where}

    def body(self, assessment: dict[str, Any]) -> dict[str, Any]:
        return assessment if self.location else {"assessment": assessment}


def _fields_of(feedback: HumanFeedback) -> dict[str, Any]:
    return {"feedback": {"value": feedback.is_positive}, "rationale": feedback.comment}
