"""What the page does, on the whole server: a question in a conversation, feedback, deletion, and each to its owner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi.routing import APIRoute

from agent_server.http.answer_routes import PREFIXES
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.stored_routes import stored_routes
from app.files.uploads import Uploads
from app.storage.factory import open_storage
from tests.agent_server.page.whole_server import WholeServer, whole_server
from tests.fakes.postgres import Postgres

ANN, BOB = "4711@99", "4712@99"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[WholeServer]:
    async with whole_server(tmp_path) as made:
        yield made


async def test_a_question_stands_in_its_conversation_from_the_first_moment_and_its_answer_follows(
    server: WholeServer,
) -> None:
    server.echo.holds = True
    id = await server.begin(ANN)
    asked = await server.ask(ANN, "How are sales?", conversation=id)
    running = await server.read(ANN, f"/api/conversations/{id}")
    assert (running["title"], running["running_response_id"]) == ("How are sales?", asked)
    assert [turn["response"]["status"] in ("queued", "in_progress") for turn in running["turns"]] == [True]
    rated = await server.send(ANN, "POST", f"/api/responses/{asked}/feedback", {"value": "up"})
    assert rated.status_code == 409
    server.echo.go_on.set()
    await server.ended(ANN, asked)
    said = {"value": "down", "comment": "Which sales?"}
    assert (await server.send(ANN, "POST", f"/api/responses/{asked}/feedback", said)).json() == said
    ended = await server.read(ANN, f"/api/conversations/{id}")
    assert ended["running_response_id"] is None
    (turn,) = ended["turns"]
    assert turn["feedback"] == said
    assert turn["response"]["output"][0]["content"][0]["text"] == "You said: How are sales?"
    exported = await server.send(ANN, "GET", f"/api/conversations/{id}/export")
    assert "You said: How are sales?" in exported.text


async def test_an_edited_question_stands_in_the_place_of_the_old_one(server: WholeServer) -> None:
    id = await server.begin(ANN)
    first = await server.ask(ANN, "One?", conversation=id)
    await server.ended(ANN, first)
    second = await server.ask(ANN, "Two?", conversation=id)
    await server.ended(ANN, second)
    edited = await server.ask(ANN, "Two, edited?", previous_response_id=first)
    await server.ended(ANN, edited)
    assert await questions(server, id) == ["One?", "Two, edited?"]
    again = await server.ask(ANN, "One, edited?", conversation=id, metadata={"replaces": first})
    await server.ended(ANN, again)
    assert await questions(server, id) == ["One, edited?"]


async def test_a_conversation_that_is_deleted_while_it_is_answered_is_gone_for_good(server: WholeServer) -> None:
    server.echo.holds = True
    id = await server.begin(ANN, "to be deleted")
    asked = await server.ask(ANN, "One?", conversation=id)
    assert (await server.send(ANN, "DELETE", f"/api/conversations/{id}")).status_code == 200
    server.echo.go_on.set()
    for path in (f"/api/conversations/{id}", f"/api/responses/{asked}"):
        assert (await server.send(ANN, "GET", path)).status_code == 404
    assert (await server.read(ANN, "/api/conversations"))["conversations"] == []
    assert (await server.send(ANN, "POST", "/api/responses", {"input": "?", "conversation": id})).status_code == 404


async def test_a_conversation_that_a_program_has_without_naming_it_is_not_in_the_list(server: WholeServer) -> None:
    asked = await server.ask(ANN, "One?")
    await server.ended(ANN, asked)
    assert (await server.read(ANN, "/api/conversations"))["conversations"] == []


@pytest.mark.slow
async def test_on_postgresql_the_page_has_all_of_this_too(postgres: Postgres, tmp_path: Path) -> None:
    async with whole_server(tmp_path, DATABASE_URL=postgres.url, DATABASE_SCHEMA="page") as server:
        assert (await server.read(ANN, "/api/me"))["storage"] == "postgresql"
        ids = [await server.begin(ANN, title) for title in ("Sales 2025", "Costs", "Sales 2026")]
        asked = await server.ask(ANN, "Größe 😀?", conversation=ids[0])
        await server.ended(ANN, asked)
        await server.send(ANN, "POST", f"/api/responses/{asked}/feedback", {"value": "up", "comment": "ja"})
        found = (await server.read(ANN, "/api/conversations?search=sales"))["conversations"]
        assert [each["title"] for each in found] == ["Sales 2025", "Sales 2026"]
        (turn,) = (await server.read(ANN, f"/api/conversations/{ids[0]}"))["turns"]
        assert (turn["question"], turn["feedback"]) == ("Größe 😀?", {"value": "up", "comment": "ja"})
        assert (await server.send(BOB, "GET", f"/api/conversations/{ids[0]}")).status_code == 404
        assert (await server.send(ANN, "DELETE", f"/api/conversations/{ids[0]}")).status_code == 200
        assert (await server.send(ANN, "GET", f"/api/responses/{asked}")).status_code == 404


async def test_without_a_job_watch_the_second_tab_says_what_to_configure(server: WholeServer) -> None:
    answer = await server.send(ANN, "GET", "/api/incidents")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "jobs_not_configured")
    assert "JOB_WATCH_STORE" in answer.json()["error"]["message"]
    assert (await server.read(ANN, "/api/me"))["features"] == {"files": False, "jobs": False, "feedback": True}


async def test_an_app_for_people_answers_nobody_without_their_token_and_keeps_it_in_memory_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    routes: list[tuple[str, str, Any]] = [
        ("GET", "/api/me", None),
        ("GET", "/api/conversations", None),
        ("POST", "/api/conversations", {}),
        ("POST", "/api/files", None),
        ("POST", "/api/responses", {"input": "?"}),
        ("POST", "/responses", {"input": "?", "stream": True}),
        ("POST", "/invocations", {"input": "?", "user": ANN, "context": {"user_id": ANN}}),
        ("POST", "/chat/completions", {"messages": [{"role": "user", "content": "?"}]}),
        ("GET", "/api/responses/resp_1", None),
        ("GET", "/api/incidents", None),
    ]
    async with whole_server(tmp_path, AGENT_SERVER_IDENTITY="person") as server:
        for method, path, body in routes:
            refused = await server.send(ANN, method, path, body)
            assert (refused.status_code, path) == (401, path)
            assert "user_api_scopes" in refused.json()["error"]["message"]
            assert refused.headers["x-should-retry"] == "false"
        signed_in = {"X-Forwarded-Access-Token": "token-of-ann"}
        me = (await server.send(ANN, "GET", "/api/me", headers=signed_in)).json()
        assert me["identity"] == "person"
        question = {"input": "?", "background": True, "stream": True}
        answer = await server.send(ANN, "POST", "/api/responses", question, headers=signed_in)
        assert "response.completed" in answer.text
        assert "token-of-ann" not in answer.text + str(me) + caplog.text
    kept = all_bytes(tmp_path)
    assert ANN.encode() in kept
    assert b"token-of-ann" not in kept


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def questions(server: WholeServer, id: str) -> list[str]:
    return [turn["question"] for turn in (await server.read(ANN, f"/api/conversations/{id}"))["turns"]]


# What Bob tries with what is Ann's: each route that names something, in its address or in its body.
NAMED: Final[list[tuple[str, str, Any]]] = [
    ("GET", "/responses/{response}", None),
    ("GET", "/responses/{response}?stream=true", None),
    ("GET", "/responses/{response}?stream=true&starting_after=0", None),
    ("GET", "/responses/{response}/input_items", None),
    ("POST", "/responses/{response}/cancel", {}),
    ("DELETE", "/responses/{response}", None),
    ("POST", "/responses/{response}/feedback", {"value": "up"}),
    ("GET", "/files/{file}", None),
    ("DELETE", "/files/{file}", None),
    ("GET", "/conversations/{conversation}", None),
    ("PATCH", "/conversations/{conversation}", {"title": "mine"}),
    ("DELETE", "/conversations/{conversation}", None),
    ("GET", "/conversations/{conversation}/export", None),
    ("POST", "/responses", {"input": "?", "previous_response_id": "{response}"}),
    ("POST", "/responses", {"input": "?", "conversation": "{conversation}"}),
    ("POST", "/responses", {"input": "?", "conversation": {"id": "{conversation}"}}),
    ("POST", "/responses", {"input": "?", "context": {"conversation_id": "{conversation}"}}),
    (
        "POST",
        "/responses",
        {"input": "?", "context": {"conversation_id": "{conversation}", "user_id": ANN}, "user": ANN},
    ),
    ("POST", "/invocations", {"input": "?", "previous_response_id": "{response}"}),
    (
        "POST",
        "/responses",
        {
            "input": [{"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}],
            "previous_response_id": "{response}",
        },
    ),
]


UNKNOWN: Final = {"conversation": "conv_0", "response": "resp_0", "file": f"file-{'0' * 32}"}


def named(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for what, id in ids.items():
            value = value.replace(f"{{{what}}}", id)
        return value
    if isinstance(value, dict):
        return {name: named(each, ids) for name, each in value.items()}
    return [named(each, ids) for each in value] if isinstance(value, list) else value


async def uploaded(owner: str, folder: Path) -> str:
    """The id of a file in the server's own store: an agent that people wrote reads none, and takes none."""
    storage = open_storage(folder / "conversations.sqlite")
    file = await Uploads(storage.artifacts).save(f"apps/{owner}", "sales.csv", b"secret")
    await storage.close()
    return file.id


async def test_what_is_another_s_looks_unknown_on_every_route_and_stays_as_it_is(
    server: WholeServer, tmp_path: Path
) -> None:
    id, file = await server.begin(ANN, "Secret"), await uploaded(ANN, tmp_path)
    asked = await server.ask(ANN, "Secret sales?", conversation=id)
    await server.ended(ANN, asked)
    before = await server.read(ANN, f"/api/conversations/{id}"), await server.read(ANN, f"/api/files/{file}")
    ann_s = {"conversation": id, "response": asked, "file": file}

    async def tried(method: str, path: str, body: Any, ids: Mapping[str, str]) -> tuple[int, str]:
        answer = await server.send(BOB, method, f"/api{named(path, ids)}", named(body, ids))
        text = answer.text
        for each in ids.values():
            text = text.replace(each, "X")
        return answer.status_code, text

    for method, path, body in NAMED:
        found = await tried(method, path, body, ann_s)
        assert found == await tried(method, path, body, UNKNOWN), (method, path)
        assert found[0] == 404, (method, path, found)
        assert "ecret" not in found[1]
    after = await server.read(ANN, f"/api/conversations/{id}"), await server.read(ANN, f"/api/files/{file}")
    assert after == before


async def test_a_file_that_is_another_s_is_refused_as_an_unknown_one(server: WholeServer, tmp_path: Path) -> None:
    file = await uploaded(ANN, tmp_path)

    async def tried(owner: str, id: str) -> tuple[int, str]:
        content = [{"type": "input_text", "text": "?"}, {"type": "input_file", "file_id": id}]
        question = {"input": [{"role": "user", "content": content}], "background": True}
        answer = await server.send(owner, "POST", "/api/responses", question)
        return answer.status_code, answer.text.replace(id, "X")

    assert await tried(BOB, file) == await tried(BOB, UNKNOWN["file"])
    assert (await tried(BOB, file))[0] == 404
    assert (await tried(ANN, file))[0] == 200


async def test_the_table_has_every_route_that_names_something(server: WholeServer) -> None:
    routers = [stored_routes(server.services, OpenAnswers(1)), *server.services.routers]
    routes = [each for router in routers for each in router.routes if isinstance(each, APIRoute)]
    found = {(method, bare(each.path)) for each in routes for method in each.methods or () if "{" in each.path}
    tried = {(method, bare(path)) for method, path, _ in NAMED if "{" in path}
    # Incidents belong to nobody: who may see and decide them is tested with them.
    assert {each for each in found if not each[1].startswith("/incidents")} == tried


def bare(path: str) -> str:
    """Without its prefix and the names of its parameters."""
    for prefix in sorted(PREFIXES, key=len, reverse=True):
        if prefix and path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix)
            break
    return "/".join("{}" if part.startswith("{") else part for part in path.partition("?")[0].split("/"))
