"""Questions of every size that is allowed, on the whole server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent_server.page.whole_server import whole_server


@pytest.mark.parametrize("question", ["x" * 79_000, "😀" * 100_000, "\N{NULL}" + "ä" * 1_000_000], ids=len)
async def test_a_large_question_is_kept_answered_and_read_again(question: str, tmp_path: Path) -> None:
    async with whole_server(tmp_path) as server:
        conversation = await server.begin("ann")
        id = await server.ask("ann", question, conversation=conversation)
        response = await server.ended("ann", id)
        more = await server.ended("ann", await server.ask("ann", "And then?", previous_response_id=id))
        shown = await server.read("ann", f"/api/conversations/{conversation}")
    assert response["status"] == more["status"] == "completed"
    assert response["output"][0]["content"][0]["text"] == f"You said: {question}"
    assert [turn["question"] for turn in shown["turns"]] == [question, "And then?"]
