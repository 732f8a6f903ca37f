"""The agent: what it asks the model, and what events come out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.agent.agent import Agent
from app.agent.events import Answer, Event, Failure, TextAdded, ToolFinished, ToolStarted
from app.agent.turn import Turn
from app.content.citation import Citation
from app.content.feedback_target import GenieTarget, TraceTarget
from app.models import model_errors as failures
from app.models.model import Completed, Source, ToolCall
from app.storage.conversations import ConversationKey, StoredMessage
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolOutput
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.tools import StaticTools, without_data_marks

KEY = ConversationKey("tenant", "conversation")


class AddArguments(ToolArguments):
    a: int
    b: int
    together: bool = False


def add_tool() -> AnyTool:
    together = asyncio.Barrier(2)

    async def add(arguments: AddArguments, context: ToolContext) -> ToolOutput:
        if arguments.together:
            await together.wait()
        return ToolOutput(str(arguments.a + arguments.b))

    return Tool("add", "Adds two numbers", AddArguments, add, Effect.READ_ONLY)


def agent(model: ScriptedModel, **more: Any) -> Agent:
    options = {"system_prompt": "Be brief.", "history_token_budget": 1000, **more}
    return Agent(model, [StaticTools([add_tool()])], **options)


async def ask(
    model: ScriptedModel, question: str = "Why?", history: Sequence[StoredMessage] = (), **more: Any
) -> list[Event]:
    unread = more.pop("unread", ())
    turn = Turn("1", KEY, question, unread)
    return [event async for event in agent(model, **more).answer(turn, history)]


def refused(*parameters: str) -> failures.RequestRefusedError:
    failure = failures.RequestRefusedError("x")
    failure.parameters = parameters
    return failure


def call(number: int, **arguments: Any) -> ToolCall:
    return ToolCall(f"call-{number}", "add", json.dumps(arguments))


async def test_the_model_is_told_the_system_prompt_the_history_and_exactly_the_question() -> None:
    model = ScriptedModel(["Because."])
    history = [StoredMessage("user", "Hello"), StoredMessage("assistant", "Hi")]
    await ask(model, "  Why?\n", history)
    asked = [(message.role, message.content) for message in model.requests[0].messages]
    assert asked == [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "  Why?\n")]


async def test_the_answer_is_all_the_text_that_streamed() -> None:
    events = await ask(ScriptedModel([["Be", "cause", "."]]))
    assert events == [TextAdded("Be"), TextAdded("cause"), TextAdded("."), Answer("Because.")]


async def test_sources_are_numbered_once_each() -> None:
    events = await ask(ScriptedModel([["See [1]", Source("A", "https://a"), Source("B"), Source("A", "https://a")]]))
    assert events[-1] == Answer("See [1]", (Citation(1, "A", "https://a"), Citation(2, "B")))


async def test_tools_run_side_by_side_and_their_results_go_back_in_order() -> None:
    model = ScriptedModel([["Let me see.", call(1, a=1, b=2, together=1), call(2, a=3, b=4, together=1)], "3 and 7"])
    events = await ask(model)
    assert [type(event) for event in events] == [
        TextAdded, ToolStarted, ToolStarted, ToolFinished, ToolFinished, TextAdded, Answer,
    ]  # fmt: skip
    assert [without_data_marks(m.content) for m in model.requests[1].messages if m.role == "tool"] == ["3", "7"]
    assert events[-1] == Answer("Let me see.\n\n3 and 7")


async def test_the_model_is_told_of_a_tool_that_failed_and_goes_on() -> None:
    model = ScriptedModel([[ToolCall("1", "nope", "{}")], "I cannot."])
    events = await ask(model)
    assert ToolFinished("1", "nope", succeeded=False) in events
    assert events[-1] == Answer("I cannot.")


async def test_the_last_step_gets_no_tools_so_that_it_has_to_answer() -> None:
    model = ScriptedModel([[call(1, a=1, b=1)], [call(2, a=1, b=1)], "Enough."])
    assert (await ask(model, step_limit=3))[-1] == Answer("Enough.")
    assert [bool(request.tools) for request in model.requests] == [True, True, False]


async def test_an_answer_that_reached_its_length_limit_says_so() -> None:
    events = await ask(ScriptedModel([["Once upon", Completed(truncated=True)]]))
    assert events[-1] == Answer("Once upon", truncated=True)


async def test_an_answer_longer_than_allowed_is_cut_off_marked_and_not_read_on() -> None:
    model = ScriptedModel([[call(1, a=1, b=1), "1234"], ["5678", " and so on for ever", asyncio.Event()]])
    events = await ask(model, max_answer_characters=8)
    assert events[-1] == Answer("1234\n\n5678", truncated=True)
    assert model.streams_closed_early == 1


async def test_a_model_that_uses_up_its_tokens_before_it_answers_is_set_up_wrongly() -> None:
    end = (await ask(ScriptedModel([[Completed(truncated=True)]])))[-1]
    assert isinstance(end, Failure)
    assert "OPENAI_MAX_TOKENS" in end.sentence


async def test_what_a_model_said_before_it_used_a_tool_is_not_said_again() -> None:
    model = ScriptedModel(
        [["Let me add.", call(1, a=1, b=1)], ["Let me ", "add. It is 2.", call(2, a=1, b=1)], "It is 2."]
    )
    assert (await ask(model))[-1] == Answer("Let me add.\n\nIt is 2.")


async def test_a_tool_call_goes_back_to_the_model_with_all_its_fields() -> None:
    signed = ToolCall("call-1", "add", '{"a": 1, "b": 1}', {"extra_content": {"thought_signature": "c2ln"}})
    model = ScriptedModel([[signed], "It is 2."])
    await ask(model)
    assert model.requests[1].messages[-2].tool_calls == (signed,)


@pytest.mark.parametrize("said", [[Completed()], [" \n"], [call(1, a=1, b=1)]])
async def test_a_model_that_says_nothing_is_a_failure_and_not_silence(said: list[Any]) -> None:
    end = (await ask(ScriptedModel([said]), step_limit=1, unread=("an image",)))[-1]
    assert isinstance(end, Failure)
    assert not end.by_model
    assert "without an answer" in end.sentence


async def test_a_character_cut_in_half_between_two_chunks_is_made_whole() -> None:
    events = await ask(ScriptedModel([["Fine \ud83d", "\ude00!", " \ud83d", "x", "\ude00"]]))
    assert events[-1] == Answer("Fine 😀! \ufffdx\ufffd")
    assert "".join(event.text for event in events if isinstance(event, TextAdded)) == "Fine 😀! \ufffdx\ufffd"


async def test_an_attachment_is_named_as_not_read() -> None:
    events = await ask(ScriptedModel(["Hm."]), unread=("`a.xlsx`",))
    assert isinstance(events[-1], Answer)
    assert "have not read: `a.xlsx`" in events[-1].text


async def test_an_attachment_without_a_question_does_not_bother_the_model() -> None:
    model = ScriptedModel()
    events = await ask(model, "", unread=("an image",))
    assert isinstance(events[-1], Answer)
    assert not events[-1].by_model, "a notice of ours would bear the AI label"
    assert model.requests == []


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (failures.SignInError("x"), "sign-in"),
        (failures.MissingCredentialError("x"), "no working Databricks credential"),
        (failures.PermissionDeniedError("x"), "Can Query"),
        (failures.UnknownModelError("x"), "does not exist"),
        (failures.ConversationTooLongError("x"), "/forget"),
        (failures.ContentFilteredError("x", categories=("violence", "hate")), "question was stopped .*violence, hate"),
        (failures.ContentFilteredError("x", side="output"), "answer was stopped"),
        (failures.RateLimitedError("x", retry_after_seconds=40), "in 40 seconds"),
        (failures.RateLimitedError("x"), "busy"),
        (failures.EndpointUnavailableError("x"), "waking up"),
        (failures.ModelTimeoutError("x"), "too long to answer"),
        (failures.StreamInterruptedError("x"), "incomplete"),
        (failures.AddressBlockedError("x"), "IP access list"),
        (failures.EndpointUnreachableError("x"), "cannot be reached"),
        (failures.RequestRefusedError("x"), "your question is not the reason.*DATABRICKS_MODEL_NAME"),
        (refused("tools"), "your question is not the reason.*DATABRICKS_TOOLS"),
        (refused("stream", "temperature"), "your question is not the reason.*OPENAI_TEMPERATURE"),
        (failures.EndpointFailedError("x"), "endpoint failed"),
        (failures.UnreadableAnswerError("x"), "cannot read.*DATABRICKS_BASE_URL"),
        (RuntimeError("secret internals"), "our side"),
    ],
)  # fmt: skip
async def test_each_failure_is_a_sentence_with_an_id_that_finds_the_log(
    failure: Exception, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    events = await ask(ScriptedModel([["Half", failure]]))
    end = events[-1]
    assert isinstance(end, Failure)
    assert end.text == "Half"
    assert "secret" not in end.sentence
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(end.sentence)
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert f"error id {end.error_id}" in logged[0].getMessage()
    assert logged[0].exc_info is not None
    assert logged[0].exc_info[1] is failure


async def test_closing_the_agent_ends_the_models_request() -> None:
    model = ScriptedModel([["Endless", asyncio.Event()]])
    events = agent(model).answer(Turn("1", KEY, "Why?"), [])
    assert await anext(events) == TextAdded("Endless")
    await events.aclose()
    assert model.streams_closed_early == 1


async def test_nothing_a_person_wrote_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await ask(ScriptedModel([["private answer", failures.RateLimitedError("x")]]), "private question")
    assert "private" not in caplog.text


async def test_an_answer_is_rated_at_its_own_trace_and_where_its_tools_say() -> None:
    of_genie, of_a_specialist = GenieTarget("s", "c", "m"), TraceTarget("tr-2")

    async def run(_: ToolArguments, __: ToolContext) -> ToolOutput:
        return ToolOutput("7", feedback_targets=(of_genie, of_a_specialist))

    tool = Tool("genie", "Asks Genie", ToolArguments, run, Effect.READ_ONLY)
    calls = [ToolCall(f"c{number}", "genie", "{}") for number in range(2)]
    model = ScriptedModel([[*calls, Completed(tuple(calls), trace_id="tr-1")], ["Seven.", Completed(trace_id="tr-3")]])
    asked = Agent(model, [StaticTools([tool])], system_prompt="", history_token_budget=1000)
    *_, end = [event async for event in asked.answer(Turn("1", KEY, "How many?"), ())]
    assert isinstance(end, Answer)
    assert end.feedback_targets == (TraceTarget("tr-3"), of_genie, of_a_specialist)
