"""The agent server with an agent whose answers are scripted: `python -m tests.agent_server.ui.scripted_agent PORT`.

It serves as inside an app, where the headers of a request say whose it is: each test is a person of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import uvicorn

from agent_server.composition.host import build_services
from agent_server.http.application import Application
from agent_server.http.serving import Server
from agent_server.responses.turn_call import current_turn_call
from agent_server.server import create_server, stream
from app.agent.events import Suspended

JsonObject = dict[str, Any]

GO_ON = "GO_ON_FOLDER"
"""Names a folder: an answer to "wait for NAME" waits for the file NAME in it."""
COLUMNS = [{"name": "region", "type": "text", "plain": False}, {"name": "revenue", "type": "number", "plain": False}]
TABLE = {
    "kind": "table",
    "title": "Revenue by region",
    "columns": COLUMNS,
    "rows": [["North", 1250000], ["South", 830000], ["West", 640500]],
    "total_rows": 3,
    "source": None,
    "page": None,
}
POINTS = [("January", 310.0), ("February", 280.0), ("March", 420.0), ("April", 455.0)]
CHART = {
    "kind": "chart",
    "chart": "vertical_bar",
    "series": [{"name": "revenue", "points": [{"label": at, "value": value, "exact": ""} for at, value in POINTS]}],
    "title": "Revenue by month",
    "x_axis": "month",
    "y_axis": "thousand EUR",
    "source": None,
    "image": None,
    "sums_up_rest": False,
    "beside_table": False,
}
TEXT = """Revenue grew by **12 %** in April, mostly in the north.

- *North*: new customers in retail
- *South*: as before

```sql
SELECT region, sum(amount) AS revenue FROM sales GROUP BY region
```

The figures come from the sales report."""
FAILURE = "The model did not answer in time. Try again."


async def answer(request: JsonObject) -> AsyncGenerator[JsonObject, None]:
    content = request["input"][-1]["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    if text.startswith("echo"):
        for word in text.split(" "):
            yield delta("msg_1", f"{word} ")
            await asyncio.sleep(0.01)
    elif text.startswith("wait for"):
        yield delta("msg_1", "One two three four")
        released = Path(os.environ[GO_ON]) / text.removeprefix("wait for ").strip()
        while not released.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        yield delta("msg_2", "five six")
    elif text.startswith("approve"):
        async for event in with_approval():
            yield event
    elif text.startswith("fail"):
        yield delta("msg_1", "It begins")
        yield {"type": "error", "code": "E-1A2B", "message": FAILURE}
    else:
        async for event in whole_answer():
            yield event


async def with_approval() -> AsyncGenerator[JsonObject, None]:
    call = current_turn_call()
    assert call is not None
    if decisions := list(call.approvals.values()):
        yield delta("msg_1", "The table was dropped." if decisions[0] else "Then nothing changes.")
        return
    arguments = json.dumps({"table": "main.sales.old_orders", "cascade": False})
    call.end = Suspended("approval_1", "May it be dropped?", title="drop_table", arguments=arguments)
    item = {"type": "mcp_approval_request", "id": "approval_1", "name": "drop_table", "server_label": "warehouse"}
    yield done({**item, "arguments": arguments})


async def whole_answer() -> AsyncGenerator[JsonObject, None]:
    call = {"id": "fc_1", "call_id": "call_1", "name": "ask_genie", "arguments": '{"question": "revenue by month"}'}
    yield done({"type": "function_call", **call})
    yield done({"type": "function_call_output", "id": "fco_1", "call_id": "call_1", "output": "4 rows"})
    for word in TEXT.split(" "):
        yield delta("msg_1", f"{word} ")
        await asyncio.sleep(0.02)
    place = {"start_index": len(TEXT) - 13, "end_index": len(TEXT) - 1}
    citation = {"type": "url_citation", "url": "https://example.com/report", "title": "Sales report", **place}
    yield {"type": "response.output_text.annotation.added", "item_id": "msg_1", "annotation": citation}
    yield {"type": "response.completed", "response": {"custom_outputs": {"blocks": [TABLE, CHART]}}}


def delta(item_id: str, text: str) -> JsonObject:
    return {"type": "response.output_text.delta", "item_id": item_id, "delta": text}


def done(item: JsonObject) -> JsonObject:
    return {"type": "response.output_item.done", "item": item}


def main(port: int) -> None:
    # Here, since the tests import this module, and others look at what is registered.
    stream()(answer)
    application = Application(build_services(create_server("agent/v1/responses", databricks_agent=True)))
    config = uvicorn.Config(application, host="127.0.0.1", port=port, lifespan="on", log_config=None)
    with socket.create_server(("127.0.0.1", port)) as listening:
        Server(config).run([listening])


if __name__ == "__main__":
    main(int(sys.argv[1]))
