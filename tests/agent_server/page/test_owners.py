"""What is another person's looks as if it did not exist, on every route."""

from __future__ import annotations

import re
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
    *(("GET", f"{prefix}/files/{{file_id}}", None) for prefix in PREFIXES),
    *(("DELETE", f"{prefix}/files/{{file_id}}", None) for prefix in PREFIXES),
]


async def ann_s(page: PageServer) -> tuple[str, str, str]:
    """A conversation, its response and its file."""
    file = str((await page.upload(ANN, "secret.csv")).json()["id"])
    id = await page.begin(ANN, "Secret sales")
    await page.responses.write(ANN, id, "resp_1", "Secret?", files=(file,))
    return id, "resp_1", file


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_what_is_another_s_looks_unknown_and_stays_as_it_is(
    method: str, path: str, body: Any, page: PageServer
) -> None:
    its = await ann_s(page)
    id = its[0]
    before = await page.read(ANN, f"/api/conversations/{id}")
    assert before["turns"][0]["files"][0]["name"] == "secret.csv"

    async def tried(id: str, response_id: str, file_id: str) -> tuple[int, str]:
        answer = await page.send(BOB, method, path.format(id=id, response_id=response_id, file_id=file_id), body)
        return answer.status_code, answer.text.replace(id, "X").replace(response_id, "X").replace(file_id, "X")

    assert await tried(*its) == await tried("conv_0", "resp_0", f"file-{'0' * 32}")
    assert (await tried(*its))[0] == 404
    assert await page.read(ANN, f"/api/conversations/{id}") == before
    assert page.queue.bodies == []


async def test_the_table_has_every_route_that_names_something(page: PageServer) -> None:
    def named(method: str, path: str) -> tuple[str, str]:
        return method, re.sub(r"\{[^}]*\}", "{}", path.partition("?")[0])

    assert {named(*each) for each in page.routes if "{" in each[1]} == {named(*each[:2]) for each in ROUTES}


async def test_nobody_sees_another_s_conversations_in_the_list(page: PageServer) -> None:
    await ann_s(page)
    for query in ("", "?search=secret", "?cursor=9e99_conv"):
        assert await page.read(BOB, f"/api/conversations{query}") == {"conversations": [], "next": None}


async def test_neither_an_address_nor_a_name_makes_somebody_the_owner(page: PageServer) -> None:
    id, _, _ = await ann_s(page)
    as_ann = {
        "X-Forwarded-Email": "ann@example.com",
        "X-Forwarded-Preferred-Username": ANN,
        "X-User": ANN,
        "Authorization": f"Bearer {ANN}",
    }
    assert (await page.send(BOB, "GET", f"/api/conversations/{id}", headers=as_ann)).status_code == 404


async def test_who_is_named_twice_is_nobody(page: PageServer) -> None:
    for names in ((ANN, BOB), (BOB, ANN), ("", ANN), (ANN, ANN)):
        headers = [("X-Forwarded-User", name) for name in names]
        assert (await page.http.get("/api/conversations", headers=headers)).status_code == 401


async def test_an_id_that_another_has_chosen_first_is_each_one_s_own(page: PageServer) -> None:
    # Ids are made by the server; storage keeps those of two people apart even where they are one.
    id, _, _ = await ann_s(page)
    await page.responses.records.create(f"apps/{BOB}", title="Bob's", id=id)
    assert (await page.read(BOB, f"/api/conversations/{id}"))["turns"] == []
    await page.send(BOB, "DELETE", f"/api/conversations/{id}")
    assert (await page.read(ANN, f"/api/conversations/{id}"))["title"] == "Secret sales"


@pytest.mark.parametrize(
    "path", ["/api/me", "/api/conversations", "/api/conversations/x", "/api/conversations/x/export"]
)
async def test_nobody_is_answered_without_being_signed_in(path: str, page: PageServer) -> None:
    answer = await page.send("", "GET", path)
    assert answer.status_code == 401
    assert "X-Forwarded-User" in answer.json()["error"]["message"]
