"""The page's API in memory, with responses that a test writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.routing import APIRoute

from agent_server.http.page_routes import MAX_UPLOAD_BODY_BYTES, PageServices, page_routes
from agent_server.http.server_services import ServerServices
from agent_server.identity.request_caller import caller_of
from agent_server.identity.server_caller import ServerCaller
from agent_server.page.conversations import Conversations
from agent_server.page.file_uploads import FileUploads
from agent_server.page.response_feedback import ResponseFeedback
from agent_server.page.signed_in import PageFeatures, SignedIn
from agent_server.protocol.api_error import not_found
from agent_server.responses.conversation_records import ConversationRecords, ConversationResponse
from agent_server.responses.response_records import ResponseRecord, ResponseRecords
from agent_server.settings import AppEnvironment, load_server_settings
from app.databricks.mlflow_assessments import HumanFeedback
from app.feedback.ratings import Ratings
from app.files.uploads import MAX_UPLOAD_BYTES, Uploads
from app.storage.factory import Storage, open_storage
from app.turns.rating_queue import RatingQueue
from tests.agent_server.http.serving import in_process, services
from tests.agent_server.page.persons_client import PersonsClient
from tests.fakes.memory_receiver import MemoryReceiver

TITLE = "Sales agent"
IN_APP = AppEnvironment("an-app")


class WrittenResponses:
    """An `agent_server.page.conversations.KeptResponses`."""

    def __init__(self, storage: Storage) -> None:
        self.records = ConversationRecords(storage.documents, retention_days=30)
        self.requests = ResponseRecords(storage.documents, storage.artifacts, retention_days=30)
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.forgotten: list[str] = []

    async def get(self, response_id: str, caller: ServerCaller) -> dict[str, Any]:
        if (found := self.objects.get((caller.tenant, response_id))) is None:
            raise not_found("response", response_id)
        return found

    async def forget_conversation(self, conversation_id: str, caller: ServerCaller) -> None:
        self.forgotten.append(conversation_id)
        record = await self.records.find(caller.tenant, conversation_id)
        for each in record.responses if record else ():
            del self.objects[caller.tenant, each.id]
        await self.records.delete(caller.tenant, conversation_id)

    async def write(
        self,
        owner: str,
        conversation: str,
        id: str,
        question: str = "",
        *,
        previous: str = "",
        files: tuple[str, ...] = (),
        trace_id: str = "",
        **response: Any,
    ) -> None:
        """A response as it is kept; `response` are fields of the Response object."""
        tenant = ServerCaller(owner).tenant
        parts: list[dict[str, Any]] = [{"type": "input_file", "file_id": file, "filename": "old.csv"} for file in files]
        message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": question}, *parts]}
        record = ResponseRecord(
            id, conversation, id, 1_800_000_000.0, question, previous, trace_id=trace_id, request={"input": [message]}
        )
        await self.requests.create(tenant, record)
        await self.records.add_response(tenant, conversation, ConversationResponse(id, previous), question)
        self.objects[tenant, id] = {"id": id, "object": "response", "status": "completed", "output": [], **response}
        if self.objects[tenant, id]["status"] not in ("queued", "in_progress"):
            await self.records.ended(tenant, conversation, id)


@dataclass
class Traces:
    """An `app.feedback.assessments.Assessments`, by trace and source."""

    kept: dict[tuple[str, str], HumanFeedback] = field(default_factory=dict)

    async def create(self, trace_id: str, feedback: HumanFeedback) -> str:
        self.kept[trace_id, feedback.source_id] = feedback
        return f"{trace_id}|{feedback.source_id}"

    async def find(self, trace_id: str, source_id: str) -> str | None:
        return f"{trace_id}|{source_id}" if (trace_id, source_id) in self.kept else None

    async def update(self, trace_id: str, assessment_id: str, feedback: HumanFeedback) -> None:
        await self.create(trace_id, feedback)

    async def delete(self, trace_id: str, assessment_id: str) -> None:
        del self.kept[trace_id, assessment_id.rpartition("|")[2]]


@dataclass
class PageServer(PersonsClient):
    """Serves people by the header that Databricks sets."""

    storage: Storage
    responses: WrittenResponses
    uploads: Uploads
    ratings: Ratings
    traces: Traces
    queue: MemoryReceiver
    rating_queue: RatingQueue
    routes: list[tuple[str, str]]
    """The method and the path of each."""
    services: ServerServices

    async def upload(self, owner: str, name: str = "sales.csv", content: bytes = b"a,b\n1,2\n") -> httpx.Response:
        return await self.send(owner, "POST", "/api/files", files={"file": (name, content)})

    async def deliver(self) -> None:
        """What is on the queue, as a worker takes it."""
        for message in await self.queue.receive(32, visibility_timeout=30):
            await self.rating_queue.deliver(message.body.encode())
            await self.queue.delete(message.receipt)


@asynccontextmanager
async def page_server(folder: Path, *, reads_files: bool = True) -> AsyncIterator[PageServer]:
    storage = open_storage(folder / "page.sqlite")
    responses, uploads, traces, queue = (
        WrittenResponses(storage),
        Uploads(storage.artifacts),
        Traces(),
        MemoryReceiver(),
    )
    ratings = Ratings(storage.documents, traces, None, retention_days=30)
    rating_queue = RatingQueue(lambda: ratings, queue)
    features = PageFeatures(files=reads_files, jobs=False, feedback=True)
    page = PageServices(
        SignedIn(
            title=TITLE,
            storage="sqlite",
            features=features,
            max_file_bytes=MAX_UPLOAD_BYTES,
            image_hosts=["img.example"],
        ),
        Conversations(responses.records, responses.requests, responses, uploads, lambda: ratings),
        ResponseFeedback(responses.requests, responses, lambda: ratings, rating_queue),
        FileUploads(uploads, is_on=reads_files),
    )
    router = page_routes(page, _identify)
    served = services(routers=(router,), identify=_identify, app=IN_APP, max_upload_bytes=MAX_UPLOAD_BODY_BYTES)
    async with in_process(served) as http:
        yield PageServer(
            http, storage, responses, uploads, ratings, traces, queue, rating_queue, _paths(router), served
        )
    await storage.close()


def _identify(headers: Mapping[str, str]) -> ServerCaller:
    return caller_of(headers, load_server_settings({}).server, IN_APP)


def _paths(router: APIRouter) -> list[tuple[str, str]]:
    routes = [each for each in router.routes if isinstance(each, APIRoute)]
    return [(method, each.path) for each in routes for method in each.methods or ()]
