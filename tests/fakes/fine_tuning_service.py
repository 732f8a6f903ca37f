"""Azure OpenAI's files and fine-tuning jobs, as they answer: a file is read after a while, statuses and fields are not
all those of OpenAI, and a job without `trainingType` is refused in misleading words.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

KEY = "0123456789abcdef0123456789abcdef"
TUNABLE = "gpt-4.1-2025-04-14"
MODELS = {TUNABLE: True, "gpt-4.1-mini-2025-04-14": True, "gpt-4-0613": False, "text-embedding-3-large": False}


class FineTuningService:
    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.polls_until_processed = 2
        self.file_error = ""
        self.lost_answers = 0
        self.unavailable = 0
        self.lists_capabilities = True

    def end(self, job_id: str, status: str, **changes: Any) -> None:
        self.jobs[job_id] |= {"status": status, **changes}

    async def create_file(self, request: web.Request) -> web.Response:
        form = await request.post()
        upload = form["file"]
        if not isinstance(upload, web.FileField) or not upload.content_type:
            return _refusal("invalidPayload", "The file has no or an empty content type specified.")
        if form.get("purpose") != "fine-tune":
            return _refusal("invalidPayload", "The purpose is not supported.")
        id_ = f"file-{len(self.files):032x}"
        self.contents[id_] = upload.file.read()
        self.files[id_] = {
            "id": id_,
            "object": "file",
            "bytes": len(self.contents[id_]),
            "created_at": 1_795_780_800,
            "filename": upload.filename,
            "purpose": "fine-tune",
            "status": "pending",
            "polls": 0,
        }
        return web.json_response(self.files[id_], status=201)

    async def file(self, request: web.Request) -> web.Response:
        file = self.files[request.match_info["id"]]
        file["polls"] += 1
        if file["polls"] >= self.polls_until_processed:
            file["status"] = "error" if self.file_error or not _is_chat(self.contents[file["id"]]) else "processed"
            file["status_details"] = self.file_error or None
        return web.json_response(file)

    async def delete_file(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        del self.files[id_]
        return web.json_response({"id": id_, "object": "file", "deleted": True})

    async def create_job(self, request: web.Request) -> web.StreamResponse:
        if self.unavailable:
            self.unavailable -= 1
            return _refusal("serviceUnavailable", "Try again later", status=503)
        body = await request.json()
        self.created.append(body)
        if not MODELS.get(body["model"]) or "trainingType" not in body:
            return _refusal("invalidPayload", "The specified base model does not support fine-tuning.")
        file = self.files.get(body["training_file"])
        if file is None or file["status"] != "processed":
            return _refusal("invalidPayload", "The specified training file is not ready.")
        if body.get("method", {}).get("type") != "supervised" or "hyperparameters" in body:
            return _refusal("invalidPayload", "The method is not supported.")
        id_ = f"ftjob-{len(self.jobs):032x}"
        self.jobs[id_] = {
            "id": id_,
            "object": "fine_tuning.job",
            "status": "pending",
            "model": body["model"],
            "fine_tuned_model": None,
            "training_file": body["training_file"],
            "validation_file": None,
            "organization_id": None,
            "result_files": None,
            "hyperparameters": {"n_epochs": -1},
            "trained_tokens": None,
            "created_at": 1_795_780_800,
            "finished_at": None,
            "error": None,
            "seed": 1,
        }
        if self.lost_answers:
            self.lost_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self.jobs[id_], status=201)

    async def list_jobs(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(self.jobs.values()), "has_more": False})

    async def job(self, request: web.Request) -> web.Response:
        if (job := self.jobs.get(request.match_info["id"])) is None:
            return _refusal("notFound", "The fine-tuning job does not exist", status=404)
        return web.json_response(job)

    async def events(self, request: web.Request) -> web.Response:
        told = ["Job enqueued. Waiting for jobs ahead to complete.", "Job started.", "Step 10: training loss=0.42"]
        events = [
            {
                "id": f"ev-{number}",
                "object": "fine_tuning.job.event",
                "created_at": 1_795_780_800 + number,
                "level": "info",
                "message": message,
            }
            for number, message in enumerate(told)
        ]
        return web.json_response({"object": "list", "data": events, "has_more": False})

    async def cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        if job["status"] in {"succeeded", "failed", "canceled"}:
            return _refusal("invalidPayload", "The job has ended.")
        job["status"] = "canceled"
        return web.json_response(job)

    async def models(self, _: web.Request) -> web.Response:
        data: list[dict[str, Any]] = [{"id": name, "object": "model", "owned_by": "azure"} for name in MODELS]
        if self.lists_capabilities:
            for each in data:
                each["capabilities"] = {"fine_tune": MODELS[each["id"]], "inference": True}
        return web.json_response({"object": "list", "data": data})


@asynccontextmanager
async def fine_tuning_service(*more: web.RouteDef) -> AsyncIterator[FineTuningService]:
    """`more` are other routes of the same resource, such as its chat completions."""
    service = FineTuningService()

    @web.middleware
    async def authenticated(request: web.Request, handler: Any) -> web.StreamResponse:
        service.requests.append(f"{request.method} {request.path.removeprefix('/openai/v1')}")
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _refusal("401", "Access denied due to invalid subscription key.", status=401)
        response: web.StreamResponse = await handler(request)
        return response

    app = web.Application(middlewares=[authenticated])
    base = "/openai/v1"
    app.add_routes(
        [
            web.post(f"{base}/files", service.create_file),
            web.get(f"{base}/files/{{id}}", service.file),
            web.delete(f"{base}/files/{{id}}", service.delete_file),
            web.get(f"{base}/models", service.models),
            web.post(f"{base}/fine_tuning/jobs", service.create_job),
            web.get(f"{base}/fine_tuning/jobs", service.list_jobs),
            web.get(f"{base}/fine_tuning/jobs/{{id}}", service.job),
            web.get(f"{base}/fine_tuning/jobs/{{id}}/events", service.events),
            web.post(f"{base}/fine_tuning/jobs/{{id}}/cancel", service.cancel),
            *more,
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        service.url = f"http://{host}:{port}{base}/"
        yield service
    finally:
        await runner.cleanup()


def _refusal(code: str, message: str, *, status: int = 400) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


def _is_chat(content: bytes) -> bool:
    """UTF-8 with a byte order mark, and ten chats at least."""
    lines = content.decode("utf-8-sig").splitlines()
    chats = [json.loads(line)["messages"] for line in lines]
    return content.startswith(b"\xef\xbb\xbf") and len(chats) >= 10 and all(chats)
