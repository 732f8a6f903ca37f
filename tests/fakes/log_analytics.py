"""Log Analytics as far as alerts and workbook ask it: its tables, and the few operators of KQL that they use."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.application_insights import ApplicationInsights

Row = dict[str, Any]
Tables = dict[str, list[Row]]


def tables_of(insights: ApplicationInsights) -> Tables:
    """What arrived, as the tables have it: https://learn.microsoft.com/azure/azure-monitor/reference/tables/apprequests."""
    tables: Tables = defaultdict(list)
    for item in insights.items:
        data = item["data"]["baseData"]
        operation = item.get("tags", {}).get("ai.operation.id", "")
        row: Row = {"TimeGenerated": datetime.now(UTC), "ItemCount": 1, "OperationId": operation}
        # What a row has no property of is empty.
        row["Properties"] = defaultdict(str, data.get("properties", {}))
        match item["data"]["baseType"]:
            case "RequestData":
                row |= {"Name": data["name"], "Success": data["success"], "ResultCode": data["responseCode"]}
                tables["AppRequests"].append({**row, "DurationMs": _milliseconds(data["duration"])})
            case "ExceptionData":
                kind = data["exceptions"][0]["typeName"]
                tables["AppExceptions"].append({**row, "ExceptionType": kind, "OuterMessage": kind})
            case "MetricData":
                metric = data["metrics"][0]
                row |= {"ItemCount": metric.get("count", 1), "Max": metric.get("max", metric["value"])}
                tables["AppMetrics"].append({**row, "Name": metric["name"], "Sum": metric["value"]})
    return tables


def _milliseconds(duration: str) -> float:
    days, hours, minutes, seconds = duration.replace(".", ":", 1).split(":")
    return timedelta(int(days), float(seconds), hours=int(hours), minutes=int(minutes)).total_seconds() * 1000


def run(kql: str, tables: Tables) -> list[Row]:
    if definition := re.match(r'let (\w+) = ("[^"]*");\s', kql):
        kql = re.sub(rf"\b{definition[1]}\b", definition[2], kql[definition.end() :])
    asked, *steps = [step.strip() for step in kql.split("|")]
    # What a table of a union lacks is empty.
    columns = dict.fromkeys(
        re.findall(r"\b(Type|Name|Success|ResultCode|DurationMs|Message|OuterMessage|ExceptionType)\b", kql), ""
    )
    rows = [{**columns, **row} for table in asked.removeprefix("union ").split(", ") for row in tables.get(table, [])]
    for step in steps:
        verb, _, rest = step.partition(" ")
        match verb:
            case "where":
                rows = [row for row in rows if _value(rest, row)]
            case "project":
                rows = [{name: _value(of, row) for name, of in _named(rest)} for row in rows]
            case "summarize":
                rows = _summarized(rest, rows)
            case _:
                assert verb in {"top", "order"}, f"this reader has no {verb}"
    return rows


def _summarized(text: str, rows: list[Row]) -> list[Row]:
    figures, _, by = text.partition(" by ")
    # What is by time is one group here: all rows are of now.
    groups = [(name, of) for name, of in _named(by) if not name.startswith("bin(")]
    grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    if not by:
        # Without `by` there is always one row, also of nothing.
        grouped[()] = []
    for row in rows:
        grouped[tuple(_value(of or name, row) for name, of in groups)].append(row)
    names = [name for name, _ in groups]
    return [
        {**dict(zip(names, key, strict=True)), **{name: _aggregate(of, each) for name, of in _named(figures)}}
        for key, each in grouped.items()
    ]


def _named(text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r", (?=\w+ = |bin\(|\w+(?:,|$))", text) if text else ():
        name, _, expression = part.partition(" = ")
        yield name, expression or name


def _aggregate(text: str, rows: list[Row]) -> Any:
    if " / " in text:
        dividend, divisor = (_aggregate(part, rows) for part in text.split(" / "))
        return dividend / divisor
    call = re.fullmatch(r"(\w+)\((.*)\)", text)
    assert call, text
    kind, given = call[1], call[2].split(", ", 1)
    aggregates: dict[str, Callable[[], Any]] = {
        "sum": lambda: sum(row[given[0]] for row in rows),
        "sumif": lambda: sum(row[given[0]] for row in rows if _value(given[1], row)),
        "countif": lambda: sum(1 for row in rows if _value(call[2], row)),
        "max": lambda: max((row[given[0]] for row in rows), default=None),
        "min": lambda: min((row[given[0]] for row in rows), default=None),
    }
    return aggregates[kind]()


def _value(text: str, row: Row) -> Any:
    text = re.sub(r"(\w+) (has|startswith|endswith|contains) (\"[^\"]*\")", r"\2(\1, \3)", text)
    text = re.sub(r"\bago\((\d+)h\)", r"ago(\1)", re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", text)))
    words: dict[str, Callable[..., Any]] = {
        "has": lambda whole, part: part.lower() in re.findall(r"[a-z0-9]+", whole.lower()),
        "startswith": lambda whole, part: whole.lower().startswith(part.lower()),
        "endswith": lambda whole, part: whole.lower().endswith(part.lower()),
        "contains": lambda whole, part: part.lower() in whole.lower(),
        "tostring": str,
        "split": lambda whole, separator: whole.split(separator),
        "toint": int,
        "ago": lambda hours: datetime.now(UTC) - timedelta(hours=hours),
    }
    return eval(text, {"__builtins__": {}}, {**words, **row})
