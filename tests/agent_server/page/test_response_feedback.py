"""What a person thinks of a response is kept, shown again, and told to its trace."""

from __future__ import annotations

from typing import Any

import pytest

from app.content.feedback_target import TraceTarget
from app.storage.conversations import ConversationKey
from tests.agent_server.page.page_server import PageServer

ANN = "4711@99"
FEEDBACK = "/api/responses/resp_1/feedback"


async def begin(page: PageServer, **response: Any) -> str:
    id = await page.begin(ANN)
    await page.responses.write(ANN, id, "resp_1", "One?", **response)
    await page.ratings.targets.save(ConversationKey(f"apps/{ANN}", id), "resp_1", [TraceTarget("tr-1")])
    return id


async def shown(page: PageServer, id: str) -> Any:
    return (await page.read(ANN, f"/api/conversations/{id}"))["turns"][0]["feedback"]


async def test_feedback_is_shown_again_told_to_the_trace_changed_in_place_and_taken_back(page: PageServer) -> None:
    id = await begin(page)
    steps: list[tuple[dict[str, Any], Any, list[tuple[bool, str]]]] = [
        ({"value": "up"}, {"value": "up", "comment": ""}, [(True, "")]),
        ({"value": "down", "comment": " Wrong 😀 "}, {"value": "down", "comment": "Wrong 😀"}, [(False, "Wrong 😀")]),
        ({"value": "down", "comment": None}, {"value": "down", "comment": ""}, [(False, "")]),
        ({"value": None, "comment": "never mind"}, None, []),
        ({"value": None}, None, []),
    ]
    for said, now, told in steps:
        answer = await page.send(ANN, "POST", FEEDBACK, said)
        assert answer.status_code == 200
        assert answer.json() == (now or {"value": None, "comment": ""})
        assert await shown(page, id) == now
        await page.deliver()
        assert [(each.is_positive, each.comment) for each in page.traces.kept.values()] == told


async def test_what_mlflow_is_told_names_no_person(page: PageServer) -> None:
    await begin(page)
    await page.send(ANN, "POST", FEEDBACK, {"value": "up"})
    await page.deliver()
    ((trace, source),) = page.traces.kept
    assert trace == "tr-1"
    assert source.startswith("user-")
    assert ANN not in source


@pytest.mark.parametrize("status", ["failed", "cancelled", "incomplete"])
async def test_what_is_said_of_a_response_that_failed_or_was_stopped_is_told_to_its_trace(
    status: str, page: PageServer
) -> None:
    id = await page.begin(ANN)
    await page.responses.write(ANN, id, "resp_1", "One?", trace_id="tr-2", status=status)
    await page.send(ANN, "POST", FEEDBACK, {"value": "down"})
    await page.deliver()
    assert [trace for trace, _ in page.traces.kept] == ["tr-2"]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_a_response_that_is_still_being_written_is_not_rated_yet(status: str, page: PageServer) -> None:
    id = await begin(page, status=status)
    answer = await page.send(ANN, "POST", FEEDBACK, {"value": "up"})
    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "true"
    assert await shown(page, id) is None


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({}, "value"),
        ({"value": "great"}, "value"),
        ({"value": True}, "value"),
        ({"value": ["up"]}, "value"),
        ({"value": "up", "comment": 7}, "comment"),
        ({"value": "up", "comment": "x" * 4_001}, "comment"),
        (["up"], None),
    ],
)
async def test_odd_feedback_is_refused(said: Any, param: str | None, page: PageServer) -> None:
    await begin(page)
    answer = await page.send(ANN, "POST", FEEDBACK, said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert page.queue.bodies == []


async def test_a_comment_with_half_a_character_is_kept(page: PageServer) -> None:
    id = await begin(page)
    await page.send(ANN, "POST", FEEDBACK, content=b'{"value": "up", "comment": "good \\ud83d"}')
    assert await shown(page, id) == {"value": "up", "comment": "good \ufffd"}
