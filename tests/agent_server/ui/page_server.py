"""The agent server as the page sees it, with scripted answers: what the page does must not depend on a model."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

JsonObject = dict[str, Any]

TABLE = {
    "kind": "table",
    "title": "Revenue by region",
    "columns": [
        {"name": "region", "type": "text", "plain": False},
        {"name": "revenue", "type": "number", "plain": False},
    ],
    "rows": [["North", 1250000], ["South", 830000], ["West", 640500]],
    "total_rows": 3,
    "source": None,
    "page": None,
}
CHART = {
    "kind": "chart",
    "chart": "vertical_bar",
    "series": [
        {
            "name": "revenue",
            "points": [
                {"label": label, "value": value, "exact": ""}
                for label, value in (("January", 310.0), ("February", 280.0), ("March", 420.0), ("April", 455.0))
            ],
        }
    ],
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


@dataclass
class Answer:
    response: JsonObject
    question: str
    files: list[JsonObject]
    conversation_id: str
    parent: str | None
    events: list[JsonObject] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    feedback: JsonObject | None = None
    work: asyncio.Task[None] | None = None
    cuts: int = 0

    def add(self, type_: str, **fields: Any) -> None:
        self.events.append({"type": type_, "sequence_number": len(self.events), **fields})
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def end(self, status: str, **fields: Any) -> None:
        self.response = {**self.response, "status": status, **fields}
        kind = {"completed": "response.completed", "failed": "response.failed"}.get(status, "response.incomplete")
        self.add(kind, response=self.response)

    @property
    def is_finished(self) -> bool:
        return self.response["status"] not in {"queued", "in_progress"}


class PageServer:
    def __init__(self, page: Path, *, word_seconds: float = 0.0) -> None:
        self.page = page
        self.word_seconds = word_seconds
        self.conversations: dict[str, JsonObject] = {}
        self.answers: dict[str, Answer] = {}
        self.requests: list[JsonObject] = []
        self.keys: dict[str, str] = {}
        self.ids = itertools.count(1)
        self.go_on = asyncio.Event()

    async def close(self) -> None:
        for answer in self.answers.values():
            if answer.work is not None:
                answer.work.cancel()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=20_000_000)
        route = application.router
        route.add_get("/api/me", self.me)
        route.add_get("/api/conversations", self.listed)
        route.add_post("/api/conversations", self.begin)
        route.add_get("/api/conversations/{id}", self.read)
        route.add_patch("/api/conversations/{id}", self.rename)
        route.add_delete("/api/conversations/{id}", self.delete)
        route.add_get("/api/conversations/{id}/export", self.export)
        route.add_post("/api/responses", self.ask)
        route.add_get("/api/responses/{id}", self.response)
        route.add_post("/api/responses/{id}/cancel", self.cancel)
        route.add_post("/api/responses/{id}/feedback", self.rate)
        route.add_post("/api/files", self.upload)
        route.add_get("/api/incidents", self.incidents)
        route.add_get("/api/incidents/summary", self.incidents)
        route.add_get("/", self.index)
        route.add_static("/", self.page)
        return application

    async def index(self, request: web.Request) -> web.FileResponse:
        policy = "default-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'"
        return web.FileResponse(self.page / "index.html", headers={"Content-Security-Policy": policy})

    async def me(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "owner": "u-1",
                "name": "Ada Lovelace",
                "email": "ada@example.com",
                "identity": "person",
                "says": "Questions are answered with your own permissions in Databricks.",
                "storage": "postgresql",
                "features": {"files": True, "jobs": True, "feedback": True},
                "max_file_bytes": 5_000_000,
                "image_hosts": [],
            }
        )

    async def listed(self, request: web.Request) -> web.Response:
        search = request.query.get("search", "").lower()
        found = [each for each in self.conversations.values() if search in each["title"].lower()]
        found.sort(key=lambda each: -each["updated_at"])
        begin = int(request.query.get("cursor", "0"))
        after = begin + 20
        page = [{**each, "running_response_id": self.running(each["id"])} for each in found[begin:after]]
        return web.json_response({"conversations": page, "next": str(after) if after < len(found) else None})

    def running(self, conversation_id: str) -> str | None:
        turns = self.turns(conversation_id)
        return next((each.response["id"] for each in turns if not each.is_finished), None)

    def turns(self, conversation_id: str) -> list[Answer]:
        """The newest branch."""
        own = [each for each in self.answers.values() if each.conversation_id == conversation_id]
        branch: list[Answer] = []
        at = own[-1] if own else None
        while at is not None:
            branch.insert(0, at)
            at = self.answers[at.parent] if at.parent else None
        return branch

    def add_conversation(self, title: str, updated_at: float) -> str:
        id_ = f"conv_{next(self.ids)}"
        self.conversations[id_] = {"id": id_, "title": title, "created_at": updated_at, "updated_at": updated_at}
        return id_

    async def begin(self, request: web.Request) -> web.Response:
        return web.json_response({"id": self.add_conversation("", time.time())})

    async def read(self, request: web.Request) -> web.Response:
        conversation = self.conversations.get(request.match_info["id"])
        if conversation is None:
            return refused(404, "There is no such conversation.")
        turns = [
            {
                "response_id": each.response["id"],
                "question": each.question,
                "files": each.files,
                "created_at": each.response["created_at"],
                "response": each.response,
                "feedback": each.feedback,
            }
            for each in self.turns(conversation["id"])
        ]
        return web.json_response({"id": conversation["id"], "title": conversation["title"], "turns": turns})

    async def rename(self, request: web.Request) -> web.Response:
        self.conversations[request.match_info["id"]]["title"] = (await request.json())["title"]
        return web.json_response({})

    async def delete(self, request: web.Request) -> web.Response:
        del self.conversations[request.match_info["id"]]
        return web.json_response({})

    async def export(self, request: web.Request) -> web.Response:
        turns = self.turns(request.match_info["id"])
        text = "\n\n".join(f"## {each.question}" for each in turns)
        headers = {"Content-Disposition": 'attachment; filename="conversation.md"'}
        return web.Response(text=text, content_type="text/markdown", headers=headers)

    async def upload(self, request: web.Request) -> web.Response:
        part = (await request.post())["file"]
        assert isinstance(part, web.FileField)
        return web.json_response({"id": f"file_{part.filename}", "name": part.filename, "bytes": 12})

    async def rate(self, request: web.Request) -> web.Response:
        self.answers[request.match_info["id"]].feedback = await request.json()
        return web.json_response({})

    async def incidents(self, request: web.Request) -> web.Response:
        return refused(503, "No job watch is configured here. Set JOB_WATCH_STORE.")

    async def cancel(self, request: web.Request) -> web.Response:
        answer = self.answers[request.match_info["id"]]
        if answer.work is not None:
            answer.work.cancel()
        answer.end("cancelled")
        return web.json_response(answer.response)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        key = request.headers["Idempotency-Key"]
        if key in self.keys:
            return await self.answer(request, self.answers[self.keys[key]], body)
        self.requests.append(body)
        content = body["input"][0].get("content", [])
        question = "".join(part.get("text", "") for part in content)
        files = [
            {"id": part["file_id"], "name": part["file_id"].removeprefix("file_"), "bytes": 12}
            for part in content
            if part["type"] == "input_file"
        ]
        parent = body.get("previous_response_id")
        conversation_id = self.answers[parent].conversation_id if parent else body["conversation"]
        if replaced := body.get("metadata", {}).get("replaces"):
            parent = self.answers[replaced].parent
        elif parent is None:
            turns = self.turns(conversation_id)
            parent = turns[-1].response["id"] if turns else None
        conversation = self.conversations[conversation_id]
        conversation["title"] = conversation["title"] or question
        conversation["updated_at"] = time.time()
        id_ = f"resp_{next(self.ids)}"
        response = {"id": id_, "object": "response", "status": "in_progress", "created_at": time.time(), "output": []}
        answer = Answer(response, question, files, conversation_id, parent)
        self.answers[id_] = answer
        self.keys[key] = id_
        answer.work = asyncio.create_task(self.work(answer, body))
        if "hold" in question:
            await self.go_on.wait()
        return await self.answer(request, answer, body)

    async def answer(self, request: web.Request, answer: Answer, body: JsonObject) -> web.StreamResponse:
        return await self.follow(request, answer, -1) if body["stream"] else web.json_response(answer.response)

    async def response(self, request: web.Request) -> web.StreamResponse:
        answer = self.answers.get(request.match_info["id"])
        if answer is None:
            return refused(404, "There is no such response.")
        if request.query.get("stream") != "true":
            return web.json_response(answer.response)
        return await self.follow(request, answer, int(request.query.get("starting_after", "-1")))

    async def follow(self, request: web.Request, answer: Answer, after: int) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        sent = after + 1
        while True:
            changed = answer.changed
            while sent < len(answer.events):
                await stream.write(f"data: {json.dumps(answer.events[sent])}\n\n".encode())
                sent += 1
                if "cut" in answer.question and sent in {5, 8} and answer.cuts < 2:
                    await asyncio.sleep(0.1)  # else the browser may drop what it was sent
                    answer.cuts += 1
                    assert request.transport is not None
                    request.transport.close()
                    return stream
            if answer.is_finished:
                await stream.write(b"data: [DONE]\n\n")
                return stream
            await changed.wait()

    async def work(self, answer: Answer, body: JsonObject) -> None:
        answer.add("response.created", response=answer.response)
        approved = [each for each in body["input"] if each["type"] == "mcp_approval_response"]
        if approved:
            await self.say(answer, 0, "The table was dropped." if approved[0]["approve"] else "Then nothing changes.")
        elif "approve" in answer.question:
            item = {
                "type": "mcp_approval_request",
                "id": f"mcpr_{next(self.ids)}",
                "name": "drop_table",
                "server_label": "warehouse",
                "arguments": json.dumps({"table": "main.sales.old_orders", "cascade": False}),
            }
            answer.response["output"] = [item]
            answer.add("response.output_item.added", output_index=0, item=item)
            answer.add("response.output_item.done", output_index=0, item=item)
        elif "fail" in answer.question:
            error = {"code": "E-1A2B", "message": "The model did not answer in time. Try again; error id E-1A2B."}
            answer.add("error", **error)
            answer.end("failed", error=error)
            return
        elif "wait" in answer.question:
            await self.say(answer, 0, "One two three four")
            await self.go_on.wait()
            await self.say(answer, 1, "five six")
        else:
            await self.whole_answer(answer)
            if "echo" not in answer.question:
                answer.response = {**answer.response, "custom_outputs": {"blocks": [TABLE, CHART]}}
        answer.end("completed")

    async def whole_answer(self, answer: Answer) -> None:
        call = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "ask_genie",
            "arguments": '{"question": "revenue by month"}',
            "status": "completed",
        }
        result = {
            "type": "function_call_output",
            "id": "fco_1",
            "call_id": "call_1",
            "output": "4 rows",
            "status": "completed",
        }
        for index, item in enumerate([call, result] if "echo" not in answer.question else []):
            answer.response["output"] = [*answer.response["output"], item]
            answer.add("response.output_item.added", output_index=index, item=item)
            answer.add("response.output_item.done", output_index=index, item=item)
        citation = {
            "type": "url_citation",
            "url": "https://example.com/report",
            "title": "Sales report",
            "start_index": len(TEXT) - 13,
            "end_index": len(TEXT) - 1,
        }
        if "echo" in answer.question:
            await self.say(answer, 0, answer.question)
        else:
            await self.say(answer, 2, TEXT, citation)

    async def say(self, answer: Answer, index: int, text: str, *citations: JsonObject) -> None:
        id_ = f"msg_{next(self.ids)}"
        item = {"type": "message", "id": id_, "role": "assistant", "status": "in_progress", "content": []}
        before = answer.response["output"]
        answer.add("response.output_item.added", output_index=index, item=item)
        place = {"output_index": index, "content_index": 0}
        part: JsonObject = {"type": "output_text", "text": "", "annotations": []}
        answer.add("response.content_part.added", part=part, **place)
        for word in text.split(" "):
            delta = f"{' ' if part['text'] else ''}{word}"
            part = {**part, "text": part["text"] + delta}
            answer.response = {**answer.response, "output": [*before, {**item, "content": [part]}]}
            answer.add("response.output_text.delta", delta=delta, **place)
            await asyncio.sleep(self.word_seconds)
        part = {**part, "annotations": list(citations)}
        for citation in citations:
            answer.add("response.output_text.annotation.added", annotation=citation, **place)
        done = {**item, "status": "completed", "content": [part]}
        answer.response = {**answer.response, "output": [*before, done]}
        answer.add("response.output_item.done", output_index=index, item=done)


def refused(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)
