"""Conversations with OpenAI's own client, on the whole server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import openai
import pytest

from agent_server.http.server_services import ServerServices
from tests.agent_server.http.serving import running
from tests.agent_server.page.whole_server import whole_server


@pytest.mark.parametrize("path", ["/v1", "/api", ""])
async def test_a_conversation_goes_on_and_is_forgotten(path: str, tmp_path: Path) -> None:
    async def already() -> None: ...

    async with whole_server(tmp_path) as server:
        made = replace(server.services, start=already, hand_over=already, close=already)
        await _converse(made, path)


async def _converse(made: ServerServices, path: str) -> None:
    async with running(made) as address:
        client = openai.AsyncOpenAI(
            base_url=address.address + path,
            api_key="none",
            timeout=10,
            max_retries=0,
            default_headers={"X-Forwarded-User": "ann"},
        )
        async with client:
            conversation = await client.conversations.create()
            first = await client.responses.create(input="Hi", conversation=conversation.id)
            second = await client.responses.create(input="And?", conversation={"id": conversation.id})
            kept = await client.responses.retrieve(first.id)
            items = await client.responses.input_items.list(second.id)
            with pytest.raises(openai.BadRequestError) as refused:
                await client.conversations.create(items=[{"role": "user", "content": "Hi"}])
            await client.conversations.delete(conversation.id)
            with pytest.raises(openai.NotFoundError):
                await client.responses.create(input="Hi", conversation=conversation.id)
    assert (first.output_text, second.output_text) == ("You said: Hi", "You said: And?")
    assert kept.id == first.id
    assert items.data
    assert refused.value.param == "items"
