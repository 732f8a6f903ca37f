"""What is another person's looks as if it did not exist, on every route."""

from __future__ import annotations

from typing import Any, Final

import pytest

from agent_server.http.answer_routes import PREFIXES
from tests.agent_server.page.page_server import PageServer

ANN, BOB = "4711@99", "4712@99"
# What Bob tries with what is Ann's: each route whose address names something.
ROUTES: Final[list[tuple[str, str, Any]]] = [
    ("GET", "/api/conversations/{id}", None),
    ("PATCH", "/api/conversations/{id}", {"title": "mine"}),
    *(("DELETE", f"{prefix}/conversations/{{id}}", None) for prefix in PREFIXES),
    ("GET", "/api/conversations/{id}/export", None),
    ("GET", "/api/conversations/{id}/export?format=json", None),
    ("POST", "/api/responses/{response_id}/feedback", {"value": "up"}),
]


async def ann_s(page: PageServer) -> tuple[str, str]:
    id = await page.begin(ANN, "Secret sales")
    await page.responses.write(ANN, id, "resp_1", "Secret?")
    return id, "resp_1"


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_what_is_another_s_looks_unknown_and_stays_as_it_is(
    method: str, path: str, body: Any, page: PageServer
) -> None:
    id, response_id = await ann_s(page)
    before = await page.read(ANN, f"/api/conversations/{id}")

    async def tried(id: str, response_id: str) -> tuple[int, str]:
        answer = await page.ask(BOB, method, path.format(id=id, response_id=response_id), body)
        return answer.status_code, answer.text.replace(id, "X").replace(response_id, "X")

    assert await tried(id, response_id) == await tried("conv_0", "resp_0")
    assert (await tried(id, response_id))[0] == 404
    assert await page.read(ANN, f"/api/conversations/{id}") == before
    assert page.queue.bodies == []


async def test_the_table_has_every_route_that_names_something(page: PageServer) -> None:
    named = {(method, path) for method, path in page.routes if "{" in path}
    assert named == {(method, path.partition("?")[0]) for method, path, _ in ROUTES}


async def test_nobody_sees_another_s_conversations_in_the_list(page: PageServer) -> None:
    await ann_s(page)
    for query in ("", "?search=secret", "?cursor=9e99_conv"):
        assert await page.read(BOB, f"/api/conversations{query}") == {"conversations": [], "next": None}


async def test_neither_an_address_nor_a_name_makes_somebody_the_owner(page: PageServer) -> None:
    id, _ = await ann_s(page)
    as_ann = {
        "X-Forwarded-Email": "ann@example.com",
        "X-Forwarded-Preferred-Username": ANN,
        "X-User": ANN,
        "Authorization": f"Bearer {ANN}",
    }
    assert (await page.ask(BOB, "GET", f"/api/conversations/{id}", headers=as_ann)).status_code == 404


async def test_who_is_named_twice_is_nobody(page: PageServer) -> None:
    for names in ((ANN, BOB), (BOB, ANN), ("", ANN), (ANN, ANN)):
        headers = [("X-Forwarded-User", name) for name in names]
        assert (await page.http.get("/api/conversations", headers=headers)).status_code == 401


async def test_an_id_that_another_has_chosen_first_is_each_one_s_own(page: PageServer) -> None:
    # Ids are made by the server; storage keeps those of two people apart even where they are one.
    id, _ = await ann_s(page)
    await page.responses.records.create(f"apps/{BOB}", title="Bob's", id=id)
    assert (await page.read(BOB, f"/api/conversations/{id}"))["turns"] == []
    await page.ask(BOB, "DELETE", f"/api/conversations/{id}")
    assert (await page.read(ANN, f"/api/conversations/{id}"))["title"] == "Secret sales"


@pytest.mark.parametrize(
    "path", ["/api/me", "/api/conversations", "/api/conversations/x", "/api/conversations/x/export"]
)
async def test_nobody_is_answered_without_being_signed_in(path: str, page: PageServer) -> None:
    answer = await page.ask("", "GET", path)
    assert answer.status_code == 401
    assert "X-Forwarded-User" in answer.json()["error"]["message"]
