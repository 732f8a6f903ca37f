"""A Bot Framework bot as an experienced developer writes it from the samples: ours is compared with it."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from botbuilder.core import ActivityHandler, TurnContext
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication
from botbuilder.schema import Activity, ActivityTypes, Entity
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam


class RawEntity(Entity):
    """The SDK's own Entity loses every field but `type`."""

    _attribute_map = {  # noqa: RUF012  (msrest reads it from the class)
        "additional_properties": {"key": "", "type": "{object}"},
        "type": {"key": "type", "type": "str"},
    }


class StreamingReply:
    """Sends what is queued one by one and sleeps a second after each, as the SDKs' own streaming helpers do."""

    def __init__(self, context: TurnContext) -> None:
        self._context = context
        self._queue: deque[str] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._stream_id: str | None = None
        self._sequence = 0
        self._text = ""

    def inform(self, text: str) -> None:
        self._enqueue("informative", text)

    def add(self, text: str) -> None:
        self._text += text
        if "streaming" not in self._queue:
            self._enqueue("streaming")

    async def finish(self) -> None:
        self._enqueue("final")
        while self._sending:
            await self._sending

    def _enqueue(self, stream_type: str, informative: str = "") -> None:
        self._queue.append(stream_type)
        if self._sending is None:
            self._sending = asyncio.create_task(self._drain(informative))

    async def _drain(self, informative: str) -> None:
        try:
            while self._queue:
                await self._send(self._queue.popleft(), informative)
                await asyncio.sleep(1.0)
        finally:
            self._sending = None

    async def _send(self, stream_type: str, informative: str) -> None:
        info: dict[str, Any] = {"streamType": stream_type}
        if stream_type != "final":
            self._sequence += 1
            info["streamSequence"] = self._sequence
        if self._stream_id:
            info["streamId"] = self._stream_id
        activity = Activity(
            type=ActivityTypes.message if stream_type == "final" else ActivityTypes.typing,
            text=informative if stream_type == "informative" else self._text,
            entities=[RawEntity(type="streaminfo", additional_properties=info)],
        )
        response = await self._context.send_activity(activity)
        if self._stream_id is None and response is not None:
            self._stream_id = response.id


class PlainBot(ActivityHandler):
    def __init__(self) -> None:
        self._client = AsyncOpenAI(
            base_url=os.environ["DATABRICKS_BASE_URL"], api_key=os.environ["DATABRICKS_TOKEN"], max_retries=2
        )
        self._history: defaultdict[str, deque[ChatCompletionMessageParam]] = defaultdict(lambda: deque(maxlen=20))

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        question = TurnContext.remove_recipient_mention(turn_context.activity) or turn_context.activity.text
        history = self._history[turn_context.activity.conversation.id]
        history.append({"role": "user", "content": question})
        if turn_context.activity.conversation.conversation_type == "personal":
            answer = await self._stream(turn_context, list(history))
        else:
            await turn_context.send_activity(Activity(type=ActivityTypes.typing))
            answer = "".join([delta async for delta in self._deltas(list(history))])
            await turn_context.send_activity(answer)
        history.append({"role": "assistant", "content": answer})

    async def _stream(self, turn_context: TurnContext, messages: list[ChatCompletionMessageParam]) -> str:
        reply = StreamingReply(turn_context)
        reply.inform("Thinking…")
        answer = ""
        async for delta in self._deltas(messages):
            answer += delta
            reply.add(delta)
        await reply.finish()
        return answer

    async def _deltas(self, messages: list[ChatCompletionMessageParam]) -> AsyncIterator[str]:
        stream = await self._client.chat.completions.create(
            model=os.environ["DATABRICKS_MODEL_NAME"], messages=messages, stream=True
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


class NoApp:
    APP_ID = ""
    APP_PASSWORD = ""


def application() -> web.Application:
    adapter, bot = CloudAdapter(ConfigurationBotFrameworkAuthentication(NoApp())), PlainBot()

    async def messages(request: web.Request) -> web.StreamResponse:
        return await adapter.process(request, bot) or web.Response(status=200)

    app = web.Application()
    app.add_routes([web.post("/api/messages", messages)])
    return app


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    web.run_app(application(), host="127.0.0.1", port=arguments.parse_args().port, print=None, access_log=None)
