from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from agent_server.handlers.request_context import RequestContext
from agent_server.http.server_services import ServerServices
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.responses_request import parse_responses_request
from tests.agent_server.http.serving import (
    MemoryResponses,
    ScriptedHandler,
    frames,
    in_process,
    running,
    services,
    settings,
    until,
)


def keeping(handler: ScriptedHandler) -> tuple[ServerServices, MemoryResponses]:
    responses = MemoryResponses(handler)
    return services(handler, responses=responses, databricks_agent=True), responses


async def test_a_server_that_keeps_responses_keeps_what_does_not_say_otherwise() -> None:
    made, responses = keeping(ScriptedHandler())
    async with in_process(made) as client:
        kept = await client.post("/responses", json={"input": "Hi"})
        unkept = await client.post("/responses", json={"input": "Hi", "store": False})
        read = await client.get(f"/responses/{kept.json()['id']}")
        again = await client.post("/responses", json={"input": "Hi", "previous_response_id": kept.json()["id"]})
        unknown = await client.post("/responses", json={"input": "Hi", "previous_response_id": "resp_no"})
    assert kept.json()["status"] == unkept.json()["status"] == "completed"
    assert read.json() == kept.json()
    assert len(responses.kept) == 2
    assert again.status_code == 200
    assert (unknown.status_code, unknown.headers["x-should-retry"]) == (404, "false")


async def test_a_handler_of_ones_own_keeps_only_what_asks_for_it() -> None:
    handler = ScriptedHandler()
    responses = MemoryResponses(handler)
    async with in_process(services(handler, responses=responses)) as client:
        await client.post("/responses", json={"input": "Hi"})
        assert not responses.kept
        await client.post("/responses", json={"input": "Hi", "store": True})
        assert len(responses.kept) == 1


async def test_a_background_response_is_answered_at_once_and_followed_from_anywhere() -> None:
    handler = ScriptedHandler(waits=True)
    made, _ = keeping(handler)
    async with in_process(made) as client:
        begun = await client.post("/responses", json={"input": "Hi", "background": True})
        response_id = begun.json()["id"]
        await handler.began.wait()
        running_now = await client.get(f"/api/responses/{response_id}")
        handler.go_on.set()
        whole = frames((await client.get(f"/responses/{response_id}?stream=true")).text)
        rest = frames((await client.get(f"/v1/responses/{response_id}?stream=true&starting_after=4")).text)
        none = frames((await client.get(f"/responses/{response_id}?stream=true&starting_after=9")).text)
        items = await client.get(f"/responses/{response_id}/input_items")
        deleted = await client.delete(f"/responses/{response_id}")
        gone = await client.get(f"/responses/{response_id}")
    assert begun.json()["status"] in ("queued", "in_progress")
    assert running_now.json()["status"] == "in_progress"
    assert [event["sequence_number"] for event in whole[:-1]] == list(range(10))
    assert rest == whole[5:]
    assert none == ["[DONE]"]
    assert whole[-1] == "[DONE]"
    assert items.json()["object"] == "list"
    assert deleted.json()["deleted"] is True
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("stream=maybe", "stream"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("stream=true&starting_after=1.5", "starting_after"),
        ("stream=true&starting_after=" + "9" * 30, "starting_after"),
        ("starting_after=3", "starting_after"),
    ],
)
async def test_a_parameter_of_an_address_that_means_nothing_is_refused(query: str, param: str) -> None:
    made, _ = keeping(ScriptedHandler())
    async with in_process(made) as client:
        answer = await client.get(f"/responses/resp_0?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_response_is_cancelled_by_its_address() -> None:
    handler = ScriptedHandler(waits=True)
    made, _ = keeping(handler)
    async with in_process(made) as client:
        begun = await client.post("/responses", json={"input": "Hi", "background": True})
        await handler.began.wait()
        cancelled = await client.post(f"/responses/{begun.json()['id']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    await until(lambda: handler.ended == ["cancelled"])


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_its_foreground_response(stream: bool) -> None:
    handler = ScriptedHandler(waits=True)
    made, responses = keeping(handler)
    async with running(made) as server, server.client() as client:
        asking = asyncio.create_task(client.post("/responses", json={"input": "Hi", "stream": stream}))
        await handler.began.wait()
        asking.cancel()
        await until(lambda: responses.kept["resp_0"].cancelled)
    assert handler.ended == ["cancelled"]


async def test_a_client_that_leaves_a_background_stream_ends_nothing_and_comes_back() -> None:
    handler = ScriptedHandler(waits=True)
    made, _ = keeping(handler)
    async with running(made) as server, server.client() as client:
        question = {"input": "Hi", "background": True, "stream": True}
        async with client.stream("POST", "/responses", json=question) as answer:
            lines = answer.aiter_lines()
            while "response.output_text.delta" not in await anext(lines):
                pass
        async with client.stream("GET", "/responses/resp_0?stream=true&starting_after=3") as answer:
            handler.go_on.set()
            rest = frames("\n".join([line async for line in answer.aiter_lines()]))
    assert [event["sequence_number"] for event in rest[:-1]] == [4, 5, 6, 7, 8, 9]
    assert handler.ended == ["completed"]


@pytest.mark.parametrize("how", ["stopped", "deleted"])
async def test_a_stream_of_what_goes_on_without_it_does_not_look_complete(how: str) -> None:
    handler = ScriptedHandler(waits=True)
    made, responses = keeping(handler)
    sent: list[str] = []
    async with running(made) as server, server.client() as client:
        question = {"input": "Hi", "stream": True, "background": how == "deleted"}

        async def follow() -> None:
            async with client.stream("POST", "/responses", json=question) as answer:
                async for line in answer.aiter_lines():
                    sent.append(line)
                    if " there" in line and how == "stopped":
                        await server.application.stop(finish_seconds=0.01)
                    elif " there" in line:
                        await responses.vanish("resp_0")

        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            await follow()
    assert not responses.kept["resp_0"].cancelled
    assert frames("\n".join(sent))[-1]["type"] == "response.output_text.delta"
    await responses.close()


async def test_a_kept_answer_in_one_piece_goes_on_where_the_server_stops() -> None:
    handler = ScriptedHandler(waits=True)
    made, responses = keeping(handler)
    async with running(made) as server, server.client() as client:
        asking = asyncio.create_task(client.post("/responses", json={"input": "Hi"}))
        await handler.began.wait()
        await server.application.stop(finish_seconds=0.01)
        answer = await asking
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_restarting")
    assert not responses.kept["resp_0"].cancelled
    await responses.close()


async def test_those_who_follow_kept_responses_keep_nobody_from_asking() -> None:
    handler = ScriptedHandler(waits=True)
    responses = MemoryResponses(handler)
    made = services(handler, responses=responses, settings=settings(AGENT_SERVER_MAX_CONCURRENT_ANSWERS="1"))
    async with in_process(made) as client:
        question = {"input": "Hi", "background": True, "stream": True}
        following = asyncio.create_task(client.post("/responses", json=question))
        await handler.began.wait()
        handler.waits = False
        answer = await client.post("/responses", json={"input": "Hi"})
        handler.go_on.set()
        await following
    assert answer.status_code == 200


async def test_anothers_response_looks_unknown() -> None:
    handler = ScriptedHandler()
    made, responses = keeping(handler)
    await responses.create(
        parse_responses_request({"input": "Hi"}), RequestContext("req", ServerCaller("ann"), {}, agent=None)
    )

    def identify(headers: Any) -> ServerCaller:
        return ServerCaller(headers["x-test-user"])

    async with in_process(replace(made, identify=identify)) as client:
        for user, status in (("ann", 200), ("bob", 404)):
            headers = {"x-test-user": user}
            for path in ("/responses/resp_0", "/responses/resp_0?stream=true", "/responses/resp_0/input_items"):
                assert (await client.get(path, headers=headers)).status_code == status
        assert (await client.post("/responses/resp_0/cancel", headers={"x-test-user": "bob"})).status_code == 404
        assert (await client.delete("/responses/resp_0", headers={"x-test-user": "bob"})).status_code == 404


async def test_the_headers_of_a_request_reach_the_service_with_its_id() -> None:
    made, responses = keeping(ScriptedHandler())
    async with in_process(made) as client:
        answer = await client.post(
            "/responses", json={"input": "Hi"}, headers={"Idempotency-Key": "k1", "X-Request-Id": "proxy-7"}
        )
    assert answer.headers["x-request-id"] == "proxy-7"
    context = responses.contexts[0]
    assert (context.request_id, context.headers["idempotency-key"]) == ("proxy-7", "k1")


async def test_a_server_that_keeps_nothing_says_so() -> None:
    async with in_process(services()) as client:
        answer = await client.get("/responses/resp_0")
    assert answer.status_code == 404
    assert "keeps no responses" in answer.json()["error"]["message"]
