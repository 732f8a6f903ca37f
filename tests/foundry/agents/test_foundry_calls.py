"""Requests to Foundry end in time, are repeated where that does no harm, and stop while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import openai
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
)

from app.foundry.agents.foundry_calls import FoundryCalls, Repeat
from app.foundry.agents.foundry_errors import FoundryError, RefusedError, UnavailableError
from app.resilience.retry import Backoff
from tests.foundry.agents.conftest import ProgramHarness, quick_calls

REQUEST = httpx2.Request("POST", "http://127.0.0.1/")


def failing(*errors: Exception) -> tuple[Callable[[], Awaitable[str]], list[Exception]]:
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call, left


def answered(status: int, body: object = None, **headers: str) -> openai.APIStatusError:
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    return openai.APIStatusError("x", response=response, body=body)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "repeat", "is_repeated", "kind"),
    [
        (answered(500), Repeat.ALWAYS, True, UnavailableError),
        (answered(500), Repeat.IF_REFUSED, False, UnavailableError),
        (answered(429), Repeat.IF_REFUSED, True, UnavailableError),
        (answered(409), Repeat.IF_REFUSED, True, UnavailableError),
        (answered(400, {"code": "conversation_locked"}), Repeat.IF_REFUSED, True, UnavailableError),
        (answered(429), Repeat.NEVER, False, UnavailableError),
        (answered(408), Repeat.ALWAYS, True, UnavailableError),
        (answered(400), Repeat.ALWAYS, False, RefusedError),
        (answered(412), Repeat.ALWAYS, False, RefusedError),
        (openai.APIConnectionError(request=REQUEST), Repeat.ALWAYS, True, UnavailableError),
        (openai.APIConnectionError(request=REQUEST), Repeat.IF_REFUSED, False, UnavailableError),
        (openai.APITimeoutError(request=REQUEST), Repeat.ALWAYS, True, UnavailableError),
        (ServiceRequestError("no connection"), Repeat.IF_REFUSED, True, UnavailableError),
        (ServiceRequestTimeoutError("no connection"), Repeat.IF_REFUSED, True, UnavailableError),
        (
            caused(openai.APIConnectionError(request=REQUEST), httpx2.ConnectError("x")),
            Repeat.IF_REFUSED,
            True,
            UnavailableError,
        ),
        (
            caused(openai.APITimeoutError(request=REQUEST), httpx2.ConnectTimeout("x")),
            Repeat.IF_REFUSED,
            True,
            UnavailableError,
        ),
        (
            caused(openai.APITimeoutError(request=REQUEST), httpx2.ReadTimeout("x")),
            Repeat.IF_REFUSED,
            False,
            UnavailableError,
        ),
        (ServiceResponseError("reset"), Repeat.IF_REFUSED, False, UnavailableError),
        (TimeoutError(), Repeat.ALWAYS, True, UnavailableError),
        (ValueError("no JSON"), Repeat.ALWAYS, True, UnavailableError),
        (ClientAuthenticationError("ten kinds of sign-in\nfailed"), Repeat.ALWAYS, False, RefusedError),
    ],
)
async def test_what_is_repeated(error: Exception, repeat: Repeat, is_repeated: bool, kind: type[FoundryError]) -> None:
    call, left = failing(error)
    if is_repeated:
        assert await quick_calls().make("try", call, repeat) == "done"
    else:
        with pytest.raises(kind):
            await quick_calls().make("try", call, repeat)
    assert left == []


async def test_a_sign_in_that_fails_is_said_in_one_sentence_with_the_code_of_entra() -> None:
    call, _ = failing(ClientAuthenticationError("DefaultAzureCredential\n\tAzureCliCredential: AADSTS50076: Due to"))
    with pytest.raises(RefusedError) as raised:
        await quick_calls().make("try", call, Repeat.ALWAYS)
    assert str(raised.value) == (
        "There is no sign-in to Azure (AADSTS50076): run az login, or give this machine an identity."
    )


async def test_retry_after_is_waited_for() -> None:
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    calls = FoundryCalls(backoff=Backoff(first_seconds=1, attempts=5), sleep=sleep)
    call, _ = failing(answered(429, **{"Retry-After": "7"}), answered(503), answered(500))
    assert await calls.make("try", call, Repeat.ALWAYS) == "done"
    assert pauses == [7, 2, 4]


async def test_programs_that_fail_at_one_time_do_not_all_try_again_at_one_time() -> None:
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    for _ in range(5):
        call, _ = failing(answered(503))
        assert await FoundryCalls(sleep=sleep).make("try", call, Repeat.ALWAYS) == "done"
    assert len(set(pauses)) > 1


async def test_a_call_without_an_answer_ends() -> None:
    async def silent() -> None:
        await asyncio.Event().wait()

    with pytest.raises(UnavailableError, match="gave no answer"):
        await quick_calls(call_seconds=0.01).make("try", silent, Repeat.NEVER)


async def test_while_foundry_is_away_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    calls = quick_calls()
    monkeypatch.setattr(calls._circuit, "_clock", lambda: now)
    asked = 0

    async def away() -> None:
        nonlocal asked
        asked += 1
        raise answered(503)

    for _ in range(6):
        now += 3
        with pytest.raises(UnavailableError):
            await calls.make("try", away, Repeat.NEVER)
    assert asked == 5
    with pytest.raises(UnavailableError, match="was not asked") as raised:
        await calls.make("try", away, Repeat.NEVER)
    assert raised.value.was_refused
    now += 10
    call, _ = failing()
    assert await calls.make("try", call, Repeat.NEVER) == "done"


async def test_neither_package_repeats_a_request_by_itself(harness: ProgramHarness) -> None:
    for call, make in (
        ("GET /agents/{name}", lambda: harness.project.latest_version("x")),
        ("POST /openai/v1/responses", lambda: harness.project.create_response({"input": "x"}, "")),
    ):
        harness.stand_in.faults.add(call, 500, times=20)
        began = len(harness.stand_in.faults.calls)
        with pytest.raises(UnavailableError):
            await make()
        assert len(harness.stand_in.faults.calls) - began == (4 if call.startswith("GET") else 1)


async def test_a_hanging_project_holds_up_no_other_call(harness: ProgramHarness) -> None:
    harness.stand_in.faults.add("GET /agents/{name}", None)
    hanging = asyncio.create_task(harness.project.latest_version("x"))
    await harness.project.create_conversation({})
    assert not hanging.done()
    hanging.cancel()
