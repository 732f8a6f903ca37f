"""The settings of SQL that the model writes."""

from __future__ import annotations

from typing import ClassVar

from app.settings.section import Section, setting


class SqlSettings(Section):
    title: ClassVar[str] = "SQL: queries that the model writes"

    warehouse_id: str = setting(
        "SQL_WAREHOUSE_ID",
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,64}$",
        left_out="the model runs no SQL",
        description="the id of the SQL warehouse on which the model may run queries; they only read",
    )
    allows_external: bool = setting(
        "SQL_ALLOWS_EXTERNAL",
        default=False,
        description="true lets these queries read files, streams and other databases, and use AI functions",
    )
