"""Answers of functions: any worker reads them, and each is kept until nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.common.caller import UNKNOWN_CALLER
from app.function_tools.function_calls import CALLS, FunctionCalls
from app.function_tools.function_messages import FunctionAnswer
from app.storage.conversations import ConversationKey
from app.storage.documents import Document, DocumentKey
from app.storage.storage_errors import StorageError
from app.tools.registry import ToolRegistry
from tests.function_tools.function_workers import LISBON, Workers, context, ended, now, run, told


def test_any_worker_reads_any_answer(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        other = await workers.provider()
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        await other.sweep()
        assert workers.queues.named("fn-out").messages.bodies == []
        assert told(await waiting) == "Sunny"

    run(tmp_path, scenario)


def test_an_answer_whose_reader_died_is_read_by_another(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        out = workers.queues.named("fn-out").messages
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        await out.receive(1, visibility_timeout=30)
        assert told(await waiting) == "Sunny"

    run(tmp_path, scenario)


def test_of_two_answers_to_one_call_the_first_stays(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        calls = FunctionCalls(workers.documents, clock=workers.clock)
        _, is_new = await calls.begin("c-1")
        assert is_new
        kept = await asyncio.gather(*(calls.keep(FunctionAnswer("c-1", str(n))) for n in range(5)))
        assert all(kept)
        first = await calls.find("c-1")
        assert await calls.keep(FunctionAnswer("c-1", "later"))
        assert await calls.find("c-1") == first

    run(tmp_path, scenario)


def test_a_function_that_does_not_answer_in_time_is_told_once_its_time_is_over_in_any_worker(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        began = now()
        first = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        await asyncio.sleep(40)
        await ended(first)
        result = await (await workers.registry()).run(LISBON, context())
        assert "has not answered in time; whether it did what it was asked is not known" in told(result)
        assert not result.succeeded
        assert 59 <= now() - began < 64

    run(tmp_path, scenario)


def test_what_nobody_waits_for_is_swept_and_its_message_is_named_but_not_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(workers: Workers) -> None:
        provider = await workers.provider()
        await workers.queues.answer({"Value": "secret words", "CorrelationId": "of-nobody"})
        await workers.queues.answer("secret words, and no JSON")
        for _ in range(70):
            await workers.queues.answer({"Value": "late", "CorrelationId": "of-nobody"})
        await provider.sweep()
        assert workers.queues.named("fn-out").messages.bodies == []

    with caplog.at_level(logging.INFO):
        run(tmp_path, scenario)
    assert "Message message-0 on fn-out answers no call of this app, and is dropped" in caplog.text
    assert "Message message-2 on fn-out is no answer, and is dropped: neither JSON nor base64 of it" in caplog.text
    assert "secret" not in caplog.text


def test_an_answer_that_cannot_be_kept_keeps_no_other_from_being_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        await workers.documents.put(Document(DocumentKey(CALLS, "function_tools", "damaged"), "no JSON"))
        await workers.queues.answer({"Value": "Rain", "CorrelationId": "damaged"})
        await asyncio.sleep(5)
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        assert told(await waiting) == "Sunny"

    run(tmp_path, scenario)
    assert re.search(r"The answer in message message-\d+ on fn-out could not be kept", caplog.text)


def test_an_answer_that_storage_does_not_keep_stays_on_its_queue(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        waiting = asyncio.create_task((await workers.registry()).run(LISBON, context()))
        question = await workers.queues.asked()
        await ended(waiting)

        class Away:
            async def get(self, _key: object) -> None:
                raise StorageError("away")

        broken: Any = Away()
        await workers.queues.answer({"Value": "Sunny", "CorrelationId": question["CorrelationId"]})
        await (await workers.provider(broken)).sweep()
        assert len(workers.queues.named("fn-out").messages.bodies) == 1
        assert told(await (await workers.registry()).run(LISBON, context())) == "Sunny"

    run(tmp_path, scenario)


def test_forgetting_a_conversation_deletes_its_calls_and_ends_those_that_wait(tmp_path: Path) -> None:
    async def scenario(workers: Workers) -> None:
        provider = await workers.provider()
        registry = ToolRegistry(await provider.tools(UNKNOWN_CALLER))
        here = context().conversation
        keys = [here, replace(here, thread="t1"), ConversationKey("tenant", "another")]
        waiting = [asyncio.create_task(registry.run(LISBON, replace(context(), conversation=key))) for key in keys]
        await asyncio.sleep(1)
        await provider.forget(here)
        await asyncio.sleep(4)
        assert [task.done() for task in waiting] == [True, False, False]
        assert "was forgotten" in told(waiting[0].result())
        await provider.forget(here, threads=True)
        await asyncio.sleep(4)
        assert [task.done() for task in waiting] == [True, True, False]
        left = await workers.documents.list_page(CALLS, "function_tools")
        assert len(left.documents) == 1
        await ended(waiting[2])

    run(tmp_path, scenario)
