"""Conversations are listed, read, named and deleted by their owner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent_server.page import conversations
from agent_server.responses import conversation_records
from agent_server.responses.conversation_records import MAX_RESPONSES, ConversationRecord, ConversationResponse
from app.content.feedback_target import TraceTarget
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from tests.agent_server.page.page_server import PageServer

ANN = "4711@99"


async def titles(page: PageServer, query: str = "") -> list[str]:
    listed = await page.read(ANN, f"/api/conversations{query}")
    return [each["title"] for each in listed["conversations"]]


async def test_a_conversation_is_named_after_its_first_question_until_a_person_names_it(page: PageServer) -> None:
    id = await page.begin(ANN)
    assert await titles(page) == [""]
    await page.responses.write(ANN, id, "resp_1", "How did\nsales go?")
    assert await titles(page) == ["How did sales go?"]
    renamed = await page.send(ANN, "PATCH", f"/api/conversations/{id}", {"title": " Sales  2026 \n"})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "Sales 2026")
    await page.responses.write(ANN, id, "resp_2", "And now?", previous="resp_1")
    assert await titles(page) == ["Sales 2026"]


async def test_the_latest_comes_first_and_a_running_one_is_marked(page: PageServer) -> None:
    first, second = await page.begin(ANN, "first"), await page.begin(ANN, "second")
    assert await titles(page) == ["second", "first"]
    await page.responses.write(ANN, first, "resp_1", "?", status="in_progress")
    listed = (await page.read(ANN, "/api/conversations"))["conversations"]
    assert [(each["id"], each["running_response_id"]) for each in listed] == [(first, "resp_1"), (second, None)]
    assert listed[0]["updated_at"] > listed[1]["updated_at"] >= listed[1]["created_at"]


@pytest.mark.parametrize("path", ["", "/{id}"])
@pytest.mark.parametrize("status", ["completed", "failed", None])
async def test_what_a_vanished_worker_left_marked_as_running_is_seen_to_have_ended(
    status: str | None, path: str, page: PageServer
) -> None:
    id = await page.begin(ANN)
    await page.responses.write(ANN, id, "resp_1", "?", status="in_progress")
    before = await page.responses.records.find(f"apps/{ANN}", id)
    assert before is not None
    if status is None:
        page.responses.objects.clear()
    else:
        page.responses.objects[f"apps/{ANN}", "resp_1"]["status"] = status
    listed = await page.read(ANN, f"/api/conversations{path.replace('{id}', id)}")
    shown = listed if path else listed["conversations"][0]
    assert shown["running_response_id"] is None
    after = await page.responses.records.find(f"apps/{ANN}", id)
    assert after == replace(before, running="")


async def test_pages_have_each_conversation_once_though_others_come_and_go(
    page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "PAGE_SIZE", 2)
    ids = [await page.begin(ANN, f"c{number}") for number in range(5)]
    seen = []
    cursor = ""
    while True:
        listed = await page.read(ANN, f"/api/conversations?cursor={cursor}")
        seen += [each["title"] for each in listed["conversations"]]
        if not (cursor := listed["next"]):
            break
        await page.begin(ANN, "newer")
        await page.send(ANN, "DELETE", f"/api/conversations/{ids[int(seen[-1][1:])]}")
    assert seen == ["c4", "c3", "c2", "c1", "c0"]


async def test_the_conversations_that_programs_make_hide_none_of_a_persons(
    page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_records, "MAX_PAGE_SIZE", 2)
    monkeypatch.setattr(conversation_records, "_MAX_LISTED", 3)
    for number in range(10):
        id = conversation_records.new_conversation_id()
        await page.responses.records.create(f"apps/{ANN}", id=id)
        await page.responses.write(ANN, id, f"resp_{number}", "From a notebook?")
    for title in ("first", "second"):
        await page.begin(ANN, title)
    assert await titles(page) == ["second", "first"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("porto%20COSTS", ["Costs 100%"]),
        ("lisbon", []),
        ("sales", ["Sales in ÖSTERREICH"]),
        ("österreich%20SALES", ["Sales in ÖSTERREICH"]),
        ("sal%20costs", []),
        ("%20", ["Costs 100%", "Sales in ÖSTERREICH"]),
        ("100%25", ["Costs 100%"]),
        ("_", []),
        ("x" * 5_000, []),
    ],
)
async def test_every_word_of_a_search_is_in_the_title_or_a_question(
    search: str, found: list[str], page: PageServer
) -> None:
    for title in ("Sales in ÖSTERREICH", "Costs 100%"):
        id = await page.begin(ANN, title)
    await page.responses.write(ANN, id, "resp_1", "Rent in Porto?")
    await page.responses.write(ANN, id, "resp_2", "In Faro?", previous="resp_1")
    assert await titles(page, f"?search={search}") == found


async def test_the_longest_conversation_fits_into_its_document(page: PageServer) -> None:
    records, tenant = page.responses.records, f"apps/{ANN}"
    id = await page.begin(ANN, '"' * 500)
    question = '"\\' * 500

    def fill(record: ConversationRecord) -> ConversationRecord:
        asked = [
            ConversationResponse(f"resp_{n:032}", f"resp_{n - 1:032}", question[:60]) for n in range(MAX_RESPONSES)
        ]
        return replace(record, responses=tuple(asked))

    await records.update(tenant, id, fill)
    assert await records.add_response(tenant, id, ConversationResponse("resp_new", f"resp_{7:032}"), question)
    found = await records.find(tenant, id)
    assert found is not None
    assert (len(found.responses), found.last) == (MAX_RESPONSES, "resp_new")
    assert found.branch("resp_new")[0] == f"resp_{1:032}"


async def test_a_conversation_has_the_turns_of_its_newest_branch(page: PageServer) -> None:
    id = await page.begin(ANN)
    file = (await page.upload(ANN)).json()
    await page.responses.write(ANN, id, "resp_1", "One?", files=(file["id"], f"file-{'0' * 32}"))
    await page.responses.write(ANN, id, "resp_2", "Two?", previous="resp_1")
    await page.responses.write(ANN, id, "resp_3", "Two, edited?", previous="resp_1", status="in_progress")
    await page.send(ANN, "POST", "/api/responses/resp_1/feedback", {"value": "down", "comment": "Wrong."})
    read = await page.read(ANN, f"/api/conversations/{id}")
    assert read["running_response_id"] == "resp_3"
    one, two = read["turns"]
    asked = {name: file[name] for name in ("id", "name", "bytes", "created_at")}
    assert one["files"] == [asked, {"id": f"file-{'0' * 32}", "name": "old.csv", "bytes": 0}]
    assert one["feedback"] == {"value": "down", "comment": "Wrong."}
    assert (one["question"], one["created_at"], one["response"]["status"]) == ("One?", 1_800_000_000.0, "completed")
    assert (two["response_id"], two["question"], two["feedback"]) == ("resp_3", "Two, edited?", None)
    assert two["response"]["status"] == "in_progress"


async def test_a_response_that_was_deleted_is_left_out(page: PageServer) -> None:
    id = await page.begin(ANN)
    await page.responses.write(ANN, id, "resp_1", "One?")
    await page.responses.write(ANN, id, "resp_2", "Two?", previous="resp_1")
    page.responses.objects.clear()
    assert (await page.read(ANN, f"/api/conversations/{id}"))["turns"] == []


async def test_with_a_conversation_everything_of_it_is_deleted_and_nothing_else(page: PageServer) -> None:
    kept = await page.begin(ANN, "kept")
    id = await page.begin(ANN)
    asked, other = (await page.upload(ANN)).json(), (await page.upload(ANN)).json()
    await page.responses.write(ANN, id, "resp_1", "One?", files=(asked["id"],))
    await page.responses.write(ANN, id, "resp_2", "One, edited?")
    key = ConversationKey(f"apps/{ANN}", id)
    await page.ratings.targets.save(key, "resp_1", [TraceTarget("tr-1")])
    await page.send(ANN, "POST", "/api/responses/resp_1/feedback", {"value": "up"})
    deleted = await page.send(ANN, "DELETE", f"/api/conversations/{id}")
    assert deleted.json() == {"id": id, "deleted": True}
    assert page.responses.forgotten == [id]
    assert await page.ratings.find_all(key, ANN) == {}
    assert await page.uploads.find(f"apps/{ANN}", asked["id"]) is None
    assert await page.uploads.find(f"apps/{ANN}", other["id"]) is not None
    assert await titles(page) == ["kept"]
    assert (await page.send(ANN, "DELETE", f"/api/conversations/{id}")).status_code == 404
    assert (await page.send(ANN, "GET", f"/api/conversations/{kept}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "", {"title": 7}, "title"),
        ("POST", "", [], None),
        ("PATCH", "/{id}", {}, "title"),
        ("PATCH", "/{id}", {"title": None}, "title"),
        ("PATCH", "/{id}", {"title": " \n"}, "title"),
        ("PATCH", "/{id}", "title", None),
        ("GET", "?cursor=yesterday", None, "cursor"),
        ("GET", "/{id}/export?format=pdf", None, "format"),
    ],
)
async def test_odd_requests_are_refused_with_a_sentence(
    method: str, path: str, body: Any, param: str | None, page: PageServer
) -> None:
    id = await page.begin(ANN)
    answer = await page.send(ANN, method, f"/api/conversations{path.replace('{id}', id)}", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["message"].endswith(".")


async def test_odd_titles_and_ids_are_taken_as_they_are(page: PageServer) -> None:
    assert (await page.send(ANN, "POST", "/api/conversations", content=b"")).status_code == 201
    half_a_pair = await page.send(ANN, "POST", "/api/conversations", content=b'{"title": "\\ud83d."}')
    assert half_a_pair.json()["title"] == "\ufffd."
    long = await page.send(ANN, "POST", "/api/conversations", {"title": "long " * 10_000})
    assert len(long.json()["title"]) < 200
    assert await titles(page, "?cursor=nan_") == []
    for id in ("nan", "%00", "..%2F..%2Fetc", "😀", "x" * 5_000):
        assert (await page.send(ANN, "GET", f"/api/conversations/{id}")).status_code == 404


async def test_where_storage_does_not_answer_the_person_is_told_to_try_again(
    page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await page.begin(ANN)
    await page.responses.write(ANN, id, "resp_1", "One?")

    async def fail(*_: Any, **__: Any) -> Any:
        raise StorageError("away")

    for name in ("get", "put", "list_page"):
        monkeypatch.setattr(page.storage.documents, name, fail)
    monkeypatch.setattr(page.storage.artifacts, "put", fail)
    asked: list[tuple[str, str, Any]] = [
        ("GET", "/api/conversations", None),
        ("POST", "/api/conversations", {}),
        ("GET", f"/api/conversations/{id}", None),
        ("PATCH", f"/api/conversations/{id}", {"title": "a"}),
        ("DELETE", f"/api/conversations/{id}", None),
        ("POST", "/api/responses/resp_1/feedback", {"value": "up"}),
    ]
    answers = [await page.send(ANN, *each) for each in asked]
    for answer in [*answers, await page.upload(ANN)]:
        assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
        assert "try again" in answer.json()["error"]["message"].lower()
        assert "away" not in answer.text
