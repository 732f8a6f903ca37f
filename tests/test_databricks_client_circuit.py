"""An endpoint that fails for a while is spared, and so are those who ask."""

from __future__ import annotations

import asyncio

import pytest

from app.databricks_client import DatabricksModel, RetryPolicy
from app.health.dependency_checks import state_of
from app.models.model_errors import (
    EndpointUnavailableError,
    EndpointUnreachableError,
    ModelError,
    PermissionDeniedError,
)
from app.resilience.circuit_breaker import CircuitOpenError
from tests.fakes.endpoint_model import QUESTION, Sleeper, answer, asking, text_of
from tests.fakes.serving_endpoint import HttpReply, ServingEndpoint, Stream, chat_chunk, databricks_error

AWAY = databricks_error(503, "TEMPORARILY_UNAVAILABLE", "later")
ONCE = RetryPolicy(attempts=1)


async def fail(model: DatabricksModel, error: type[ModelError] = EndpointUnavailableError) -> str:
    with pytest.raises(error) as caught:
        await answer(model)
    return str(caught.value)


async def fail_until_open(model: DatabricksModel, endpoint: ServingEndpoint, sleeper: Sleeper) -> None:
    endpoint.replies.extend([AWAY] * 5)
    for _ in range(5):
        sleeper.now += 3
        await fail(model)
    assert len(endpoint.asked) == 5


async def test_after_failures_for_a_while_people_are_told_at_once_and_the_endpoint_is_left_alone() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, retries=ONCE) as model:
        await fail_until_open(model, endpoint, sleeper)
        for _ in range(3):
            assert "circuit breaker" in await fail(model)
        assert len(endpoint.asked) == 5


async def test_while_it_is_open_nobody_waits_for_a_retry() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper) as model:
        endpoint.replies.extend([AWAY] * 50)
        while sleeper.now < 1030:
            sleeper.now += 1
            await fail(model)
        asked, sleeper.pauses = len(endpoint.asked), []
        await fail(model)
    assert (len(endpoint.asked), sleeper.pauses) == (asked, [])


async def test_one_question_finds_out_whether_the_endpoint_is_back_and_the_others_follow_it() -> None:
    sleeper, more = Sleeper(), asyncio.Event()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, retries=ONCE) as model:
        await fail_until_open(model, endpoint, sleeper)
        sleeper.now += 5
        endpoint.replies.append(Stream([more, chat_chunk({"content": "Back"}), chat_chunk({}, "stop")]))
        probe = asyncio.create_task(answer(model))
        await asyncio.wait_for(endpoint.began.wait(), 5)
        assert "circuit breaker" in await fail(model)
        more.set()
        assert text_of(await probe) == "Back"
        assert text_of(await answer(model)) == "Hello"
    assert len(endpoint.asked) == 7


async def test_a_question_asked_during_the_probe_waits_for_its_outcome_where_retries_allow() -> None:
    more = asyncio.Event()

    class AwaitsProbe(Sleeper):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if endpoint.began.is_set():
                more.set()
                await probe

    sleeper = AwaitsProbe()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper) as model:
        endpoint.replies.extend([AWAY] * 6)
        for _ in range(2):
            sleeper.now += 10
            await fail(model)
        sleeper.now += 5
        endpoint.replies.clear()
        endpoint.replies.append(Stream([more, chat_chunk({"content": "Back"}), chat_chunk({}, "stop")]))
        probe = asyncio.create_task(answer(model))
        await asyncio.wait_for(endpoint.began.wait(), 5)
        assert text_of(await answer(model)) == "Hello"


async def test_a_probe_whose_person_pressed_stop_leaves_the_next_question_to_find_out() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, retries=ONCE) as model:
        await fail_until_open(model, endpoint, sleeper)
        sleeper.now += 5
        endpoint.replies.append(Stream(["hang"]))
        probe = asyncio.create_task(answer(model))
        await asyncio.wait_for(endpoint.began.wait(), 5)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert text_of(await answer(model)) == "Hello"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (databricks_error(403, "PERMISSION_DENIED", "no"), PermissionDeniedError),
        (databricks_error(429, "REQUEST_LIMIT_EXCEEDED", "slow down"), ModelError),
        (HttpReply(500, "<html>oops</html>"), ModelError),
        (databricks_error(403, "PERMISSION_DENIED", "Source IP address: 1.2.3.4 is blocked"), EndpointUnreachableError),
    ],
)
async def test_an_endpoint_that_answers_is_no_outage_whatever_it_refuses(
    reply: HttpReply, error: type[ModelError]
) -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, retries=ONCE) as model:
        for each in [reply, *[AWAY] * 4, reply, *[AWAY] * 4]:
            sleeper.now += 3
            endpoint.replies.append(each)
            await fail(model, error if each is reply else EndpointUnavailableError)
        assert text_of(await answer(model)) == "Hello"


async def test_a_refusal_is_told_as_the_outage_that_opened_it() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint:
        address = endpoint.base_url
    async with asking(address, sleeper=sleeper, retries=ONCE, api="chat") as model:
        for _ in range(5):
            sleeper.now += 3
            await fail(model, EndpointUnreachableError)
        said = await fail(model, EndpointUnreachableError)
    assert "circuit breaker of the serving endpoint is open" in said


async def test_health_says_that_it_is_open_and_asks_the_workspace_again_once_a_probe_may_go_out() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, retries=ONCE) as model:
        await fail_until_open(model, endpoint, sleeper)
        with pytest.raises(CircuitOpenError) as caught:
            await model.check_ready()
        assert state_of(caught.value) == "circuit open"
        sleeper.now += 5
        assert await model.check_ready()


async def test_leaving_an_answer_early_is_no_failure() -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, retries=ONCE) as model:
        for _ in range(10):
            sleeper.now += 3
            endpoint.replies.append(Stream([chat_chunk({"content": "Long"}), "hang"]))
            stream = model.stream(QUESTION)
            await anext(stream)
            await stream.aclose()
        assert text_of(await answer(model)) == "Hello"
