"""The whole bot over the stand-in workspace with data, as a person in a Teams chat meets it on a laptop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from app.composition.functions_host import FunctionsHost
from app.config import load_settings
from app.local.connector_server import ConnectorServer
from app.local.model_server import ModelServer
from app.local.stand_in_workspace import SETTINGS, StandInWorkspace
from app.schedules.schedule_store import ScheduleStore
from tests.fakes.activities import an_activity
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, small_sample_data

_LOCAL = {"Host": "localhost:7071", "Content-Type": "application/json"}
_ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Shown:
    """`progress` are the lines that were shown before the first word; `cards` the contents of Adaptive Cards."""

    text: str
    progress: tuple[str, ...]
    cards: tuple[Mapping[str, Any], ...]

    def elements(self, kind: str) -> list[Mapping[str, Any]]:
        """Everything of that `type` in the cards, however deep; the start of the type is enough."""
        return [one for card in self.cards for one in _nested(card) if str(one.get("type", "")).startswith(kind)]


class DataChat:
    def __init__(self, host: FunctionsHost, connector: ConnectorServer, workspace: DataWorkspace) -> None:
        self._host = host
        self._connector = connector
        self.workspace = workspace

    async def ask(self, text: str) -> Shown:
        return await self._send({"type": "message", "text": text})

    async def attach(self, text: str, name: str, url: str, **more: Any) -> Shown:
        """As Teams sends a file from a one-to-one chat."""
        content = {"downloadUrl": url, "uniqueId": "1", "fileType": name.rpartition(".")[2]}
        kind = "application/vnd.microsoft.teams.file.download.info"
        attachments = [{"contentType": kind, "contentUrl": url, "name": name, "content": content}]
        return await self._send({"type": "message", "text": text, "attachments": attachments, **more})

    async def press(self, action: Mapping[str, Any]) -> Shown:
        """`action` is an `Action.Submit` or `Action.Execute` of a card."""
        if action["type"] == "Action.Submit":
            return await self._send({"type": "message", "value": action["data"]})
        value = {"action": {key: action[key] for key in ("type", "verb", "data")}}
        return await self._send({"type": "invoke", "name": "adaptiveCard/action", "value": value})

    async def rate(self, reaction: str, comment: str) -> Shown:
        """Thumbs on the last message."""
        value = {"actionValue": {"reaction": reaction, "feedback": json.dumps({"feedbackText": comment})}}
        rated = {"name": "message/submitAction", "value": value, "replyToId": self._last_message_id}
        return await self._send({"type": "invoke", **rated})

    async def press_only(self, action: Mapping[str, Any]) -> None:
        """`action` is answered beside its card, with no message."""
        value = {"action": {key: action[key] for key in ("type", "verb", "data")}}
        await self.send_only({"type": "invoke", "name": "adaptiveCard/action", "value": value})
        for _ in range(2):
            await self._handle_queue()

    async def comes_by_itself(self, now: float) -> list[Shown]:
        """What is written once the timer has run at `now`, in seconds since 1970, and the queue after it."""
        before = len(self._connector.calls)
        vars(self._host.core.schedules)["store"] = ScheduleStore(self._host.core.storage.documents, clock=lambda: now)
        await self._host.ask_scheduled_questions()
        await self._handle_queue()
        calls = [call for call in self._connector.calls[before:] if call.is_message]
        return [Shown(call.text, (), tuple(one["content"] for one in call.activity["attachments"])) for call in calls]

    @property
    def _last_message_id(self) -> str:
        """As the channel has numbered what opened a message."""
        last = next(call for call in reversed(self._connector.calls) if call.is_message)
        if last.stream is not None and "streamId" in last.stream:
            return str(last.stream["streamId"])
        opened = [call for call in self._connector.calls if "streamId" not in (call.stream or {})]
        return f"activity-{opened.index(last) + 1}"

    async def shows(self, text: str) -> None:
        """Returns once `text` is on the way to the person."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            while not any(text in call.text for call in self._connector.calls):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def send_only(self, more: Mapping[str, Any]) -> None:
        """An activity that nothing is said to."""
        in_teams = {"channelId": "msteams", "conversation": {"id": "c1", "conversationType": "personal"}}
        activity = an_activity(self._connector.service_url, **{**in_teams, **more})
        answer = await self._host.receive_activity("POST", _LOCAL, json.dumps(activity).encode())
        assert answer.status < 300, answer

    async def _handle_queue(self) -> None:
        """As the host of the queue trigger does it, for what is visible now."""
        queue = self._host.core.queue
        for message in await queue.receive(32, visibility_timeout=60):
            await self._host.process_queue_message(message.body.encode())
            await queue.delete(message.receipt)

    async def _send(self, more: Mapping[str, Any]) -> Shown:
        before = len(self._connector.calls)
        await self.send_only(more)
        await self._handle_queue()
        message = await self._connector.next_message(_ANSWER_SECONDS)
        updates = [call for call in self._connector.calls[before:] if call.activity.get("type") == "typing"]
        cards = [one["content"] for one in message.activity.get("attachments", ())]
        return Shown(message.text, tuple(dict.fromkeys(call.text for call in updates if call.text)), tuple(cards))


@asynccontextmanager
async def a_data_chat(folder: Path, data: Path | None = None, **settings: str) -> AsyncIterator[DataChat]:
    """`settings` besides those that `dev.py run` sets. No model answers what is not scripted."""
    workspace = DataWorkspace(data or small_sample_data())
    stand_in = StandInWorkspace(ModelServer("http://127.0.0.1:9", "key"), DATA_TOKEN, workspace.parts)
    async with TestServer(stand_in.application(), host="127.0.0.1") as server, ConnectorServer() as connector:
        workspace.url = f"http://127.0.0.1:{server.port}"
        environment = {
            **SETTINGS,
            "DATABRICKS_BASE_URL": f"{workspace.url}/serving-endpoints",
            "DATABRICKS_TOKEN": DATA_TOKEN,
            "DATA_DIR": str(folder),
            "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
            **settings,
        }
        host = FunctionsHost(load_settings(environment))
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("app.genie.looking._FIRST_PAUSE_SECONDS", 0.02)
                patch.setattr("app.genie.looking._LONGEST_PAUSE_SECONDS", 0.02)
                yield DataChat(host, connector, workspace)
        finally:
            await host.close()
            workspace.database.close()


def _nested(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _nested(one)
