"""A Databricks serving endpoint that knows the one right answer to every question, and who asked it for which."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

from aiohttp import web

from app.agent.user_messages import CONTINUE_PROMPT, INTERRUPTION_NOTE
from app.local.lifetime import LOOPBACK, listen, port_of
from tests.fakes.serving_endpoint import DONE, chat_chunk
from tests.faults.plan import Question

NAME = "the-model"
_LEAST_BETWEEN_CHUNKS = 0.08


@dataclass(frozen=True, slots=True)
class ModelCall:
    """`worker` is the name in its token, `shown` the part of the answer it goes on from, `history` all that was said
    before the question, role and text.
    """

    at: float
    question: str
    worker: str
    shown: str
    history: tuple[tuple[str, str], ...]


class ModelEndpoint:
    """`clock` counts the seconds of the run."""

    def __init__(self, questions: Mapping[str, Question], clock: Callable[[], float]) -> None:
        self._questions = {question.text: question for question in questions.values()}
        self._clock = clock
        self.asked: list[ModelCall] = []
        self.breaches: list[str] = []

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=16 * 1024 * 1024)
        application.router.add_post("/serving-endpoints/chat/completions", self._complete)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        listener = listen(0)
        await web.SockSite(self._runner, listener).start()
        self._address = f"http://{LOOPBACK}:{port_of(listener)}/serving-endpoints"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def settings_for(self, worker: str) -> dict[str, str]:
        return {
            "DATABRICKS_BASE_URL": self._address,
            "DATABRICKS_MODEL_NAME": NAME,
            "DATABRICKS_TOKEN": f"dapi-{worker}",
            "DATABRICKS_API": "chat",
        }

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        worker = request.headers.get("Authorization", "").removeprefix("Bearer dapi-")
        messages = [(message["role"], message["content"]) for message in body["messages"]]
        question, shown, history = self._read(messages)
        if question is None:
            self.breaches.append(f"the model was asked something that nobody has asked: {messages[-2:]}")
            error = {"error_code": "BAD_REQUEST", "message": "no such question"}
            return web.json_response(error, status=400)
        self.asked.append(ModelCall(self._clock(), question.id, worker, shown, tuple(history)))
        return await self._speak(request, question, _rest(question.answer, shown))

    def _read(self, messages: list[tuple[str, str]]) -> tuple[Question | None, str, list[tuple[str, str]]]:
        said = [message for message in messages if message[0] != "system"]
        shown = ""
        if len(said) >= 3 and said[-1] == ("user", CONTINUE_PROMPT) and said[-2][0] == "assistant":
            shown = said[-2][1]
            said = said[:-2]
        question = self._questions.get(said[-1][1]) if said and said[-1][0] == "user" else None
        if question and _begins(question.answer, shown) is None:
            self.breaches.append(f"{question.id} was to go on from what the model never said: {shown!r}")
        return question, shown, said[:-1]

    async def _speak(self, request: web.Request, question: Question, text: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            await asyncio.sleep(question.thinks_for)
            for chunk, pause in _chunks(text, question.speaks_for * len(text) / len(question.answer)):
                await response.write(chat_chunk({"role": "assistant", "content": chunk}))
                await asyncio.sleep(pause)
            await response.write(chat_chunk({}, "stop"))
            await response.write(DONE)
            await response.write_eof()
        except ConnectionError:
            # Who asked is gone.
            return response
        return response


def _rest(answer: str, shown: str) -> str:
    """What comes after `shown`, as a model would begin it: with a word, not with a space."""
    return answer[_begins(answer, shown) or 0 :].lstrip() if shown.strip() else answer


def _begins(answer: str, shown: str) -> int | None:
    """How much of `answer` stands in `shown`, whatever the space between its words; None if other things do."""
    wanted = "".join(shown.replace(INTERRUPTION_NOTE.english, "").split())
    position = 0
    for character in wanted:
        while answer[position : position + 1].isspace():
            position += 1
        if answer[position : position + 1] != character:
            return None
        position += 1
    return position


def _chunks(text: str, seconds: float) -> list[tuple[str, float]]:
    words = text.split(" ")
    chunks = max(1, min(len(words), int(seconds / _LEAST_BETWEEN_CHUNKS)))
    starts = [round(len(words) * number / chunks) for number in range(chunks)] + [len(words)]
    pieces = [" ".join(words[start:end]) for start, end in pairwise(starts)]
    return [(piece if number == 0 else f" {piece}", seconds / chunks) for number, piece in enumerate(pieces)]
