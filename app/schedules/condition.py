"""Whether the number in an answer is above or below a limit. The number is that of a table, never the model's."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from app.content.blocks import Block, Cell, ColumnType, Table


class Outcome(StrEnum):
    MET = "met"
    NOT_MET = "not met"
    NO_NUMBER = "no number"
    NOT_ALL_ROWS = "not all rows"
    """Not met by the rows that are shown; there are others."""
    FAILED = "failed"


class Condition(BaseModel):
    model_config = ConfigDict(frozen=True)

    above: bool
    limit: Decimal

    def outcome(self, blocks: Iterable[Block]) -> Outcome:
        """By the first column of figures in the last table that has one: met if any of its values is."""
        tables = [block for block in blocks if isinstance(block, Table)]
        for table in reversed(tables):
            values = _figures(table)
            if values:
                if any(value > self.limit if self.above else value < self.limit for value in values):
                    return Outcome.MET
                return Outcome.NOT_MET if _is_whole(table) else Outcome.NOT_ALL_ROWS
        return Outcome.NO_NUMBER


def _is_whole(table: Table) -> bool:
    # Where the total of a page is not known, there are more.
    return table.page is None if table.total_rows is None else table.total_rows == len(table.rows)


def _figures(table: Table) -> list[Decimal]:
    for number, column in enumerate(table.columns):
        # Years and ids are numbers that nobody compares.
        if column.type is ColumnType.NUMBER and not column.plain:
            return [value for row in table.rows if (value := _decimal(row[number])) is not None]
    return []


def _decimal(cell: Cell) -> Decimal | None:
    if cell is None or isinstance(cell, bool):
        return None
    try:
        value = Decimal(str(cell))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
