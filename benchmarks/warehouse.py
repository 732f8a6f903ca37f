"""A SQL warehouse that speaks the real protocol; a statement says itself how long it runs and how many rows it has."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from functools import cache

from aiohttp import web

_STATEMENT = re.compile(r"SELECT region, day, amount, orders, note FROM sales\.s(\d+)_r(\d+)")
_COLUMNS = (("region", "STRING"), ("day", "DATE"), ("amount", "DECIMAL"), ("orders", "LONG"), ("note", "STRING"))


def statement(seconds: float, rows: int) -> str:
    return f"SELECT region, day, amount, orders, note FROM sales.s{round(seconds * 1000)}_r{rows}"


async def start(request: web.Request) -> web.Response:
    found = _STATEMENT.fullmatch((await request.json())["statement"])
    if found is None:
        return web.json_response({"error_code": "BAD_REQUEST", "message": "an unknown statement"}, status=400)
    ends = time.monotonic() + int(found[1]) / 1000
    id = f"{ends}_{found[2]}_{uuid.uuid4().hex}"
    return web.json_response({"statement_id": id, "status": {"state": "RUNNING"}})


async def result(request: web.Request) -> web.Response:
    """Answers when the statement ends, however early it is asked: so no pause of a poller is measured."""
    ends, rows, _ = request.match_info["statement"].split("_")
    await asyncio.sleep(float(ends) - time.monotonic())
    return web.Response(body=_result(int(rows)), content_type="application/json")


@cache
def _result(rows: int) -> bytes:
    columns = [{"name": name, "type_name": type_name, "position": at} for at, (name, type_name) in enumerate(_COLUMNS)]
    data = [
        [
            f"Region {row % 7}",
            f"2026-01-{row % 28 + 1:02}",
            f"{row}.{row % 100:02}",
            str(row),
            "as reported by the shop",
        ]
        for row in range(rows)
    ]
    response = {
        "statement_id": "1",
        "status": {"state": "SUCCEEDED"},
        "manifest": {"schema": {"columns": columns}, "total_row_count": rows, "truncated": False},
        "result": {"chunk_index": 0, "row_offset": 0, "row_count": rows, "data_array": data},
    }
    return json.dumps(response).encode()
