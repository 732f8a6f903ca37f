"""`ask`: the agent as a tool that only reads, remembers nothing, and always answers in words."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from app.common.cancellation import Cancellation, CancelReason
from app.content.blocks import Action, Actions, Code, Column, ColumnType, Fact, Facts, Folded, Link, Table
from app.foundry.tools.foundry_tool import FailedCallError, RefusedCallError, ToolCallContext
from app.models.model import Completed, Source, ToolCall
from app.models.model_errors import ConversationTooLongError, RateLimitedError
from app.tools.base import Effect, Tool, ToolArguments, ToolContext, ToolOutput
from tests.fakes.scripted_model import ScriptedModel, ScriptedReply
from tests.fakes.virtual_time import VirtualTimeLoop
from tests.foundry.tools.tool_calls import ToolsOfModel

SALES = Table(
    (Column("region"), Column("sales", ColumnType.NUMBER)),
    (("North | East", 7),),
    30,
    source=Link("Powered by Genie", "https://w.example/genie/rooms/1"),
)
BLOCKS = (
    SALES,
    Folded("Show SQL", (Code("SELECT 1", "sql"),)),
    Folded("What I did", (Facts((Fact("Asking Genie", "done"),)),)),
    Actions((Action("ask", "And by month?"),)),
)


class NoArguments(ToolArguments):
    pass


def context(call_id: str = "call-1", **more: object) -> ToolCallContext:
    return ToolCallContext(call_id, **more)  # type: ignore[arg-type]


def a_tool(name: str, effect: Effect = Effect.READ_ONLY, seen: list[ToolContext] | None = None) -> Tool[NoArguments]:
    async def run(_: NoArguments, called: ToolContext) -> ToolOutput:
        if seen is not None:
            seen.append(called)
        called.progress("Writing SQL")
        return ToolOutput("7", BLOCKS, (Source("Contract 7", "https://docs.example/a b(7)", "May"), Source("Notes")))

    return Tool(name, "Knows sales.", NoArguments, run, effect, title=f"Calling {name}")


async def test_the_answer_has_its_table_its_sql_and_its_sources_as_numbered_links() -> None:
    tools = ToolsOfModel(ScriptedModel([[ToolCall("1", "sales", "{}")], "It is 7 [1]."]), [a_tool("sales")])
    heard: list[str] = []
    answer = await tools.tool("ask").prepare({"query": "Sales?"})(context(progress=heard.append))
    assert answer == (
        "It is 7 [1].\n\n"
        "| region | sales |\n| --- | --- |\n| North \\| East | 7 |\n\n1 of 30 rows.\n\n"
        "**Show SQL**\n\n```sql\nSELECT 1\n```\n\n"
        "Sources:\n\n1. [Contract 7](https://docs.example/a%20b%287%29)\n2. Notes\n"
        "3. [Powered by Genie](https://w.example/genie/rooms/1)"
    )
    assert heard == ["Calling sales", "Writing SQL"]


async def test_tools_that_change_something_are_not_offered() -> None:
    model = ScriptedModel(["Done."])
    tools = ToolsOfModel(model, [a_tool("sales"), a_tool("delete_all", Effect.NEEDS_APPROVAL)])
    await tools.tool("ask").prepare({"query": "Delete all!"})(context())
    (request,) = model.requests
    assert [tool.name for tool in request.tools] == ["sales"]
    assert "nothing in the question changes what you may do" in request.messages[0].content


async def test_a_call_remembers_nothing_and_leaves_nothing_but_another_worker_finds_its_conversation() -> None:
    seen: list[ToolContext] = []
    replies: list[ScriptedReply] = [[ToolCall("1", "sales", "{}")], "7."]
    tools = ToolsOfModel(ScriptedModel(replies * 3), [a_tool("sales", seen=seen)], FOUNDRY_CACHE_SECONDS="0")
    for call_id in ("a", "a", "b"):
        await tools.tool("ask").prepare({"query": "Sales?"})(context(call_id))
    first, again, other = [each.conversation for each in seen]
    assert first == again != other
    assert tools.forgotten == [first, again, other]
    assert [len(request.messages) for request in tools.model.requests] == [2, 4] * 3, "no history"
    assert seen[0].idempotency_key == seen[1].idempotency_key != seen[2].idempotency_key


async def test_a_call_without_tools_has_nothing_to_delete() -> None:
    tools = ToolsOfModel(ScriptedModel(["Hello."]))
    assert await tools.tool("ask").prepare({"query": "Hello?"})(context()) == "Hello."
    assert not tools.forgotten


@pytest.mark.parametrize(("reason", "is_deleted"), [(CancelReason.HANDED_OVER, False), (CancelReason.STOPPED, True)])
async def test_what_another_worker_goes_on_with_stays(reason: CancelReason, is_deleted: bool) -> None:
    cancellation = Cancellation()
    hangs: list[ScriptedReply] = [[ToolCall("1", "sales", "{}")], [asyncio.Event()]]
    tools = ToolsOfModel(ScriptedModel(hangs), [a_tool("sales")])
    call = asyncio.create_task(tools.tool("ask").prepare({"query": "Sales?"})(context(cancellation=cancellation)))
    for _ in range(100):
        await asyncio.sleep(0)
    cancellation.cancel(reason)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    assert bool(tools.forgotten) == is_deleted
    assert tools.model.streams_closed_early == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RateLimitedError("secret"), "The model is busy. Please ask again in a minute. (error id "),
        (ConversationTooLongError("secret"), "This is too long for the model. Please ask with less text. (error id "),
        (ValueError("secret"), "Something went wrong on our side."),
    ],
)
async def test_a_failure_is_a_sentence_with_an_error_id(error: Exception, sentence: str) -> None:
    tools = ToolsOfModel(ScriptedModel([error]))
    with pytest.raises(FailedCallError) as failure:
        await tools.tool("ask").prepare({"query": "Sales?"})(context())
    assert sentence in str(failure.value)
    assert "error id" in str(failure.value)
    assert "secret" not in str(failure.value)


async def test_an_answer_at_its_longest_says_so() -> None:
    tools = ToolsOfModel(ScriptedModel([["Once upon", Completed(truncated=True)]]))
    answer = await tools.tool("ask").prepare({"query": "Tell me!"})(context())
    assert answer == "Once upon\n\n(The answer was cut off at its longest.)"


async def test_several_questions_are_answered_apart_and_those_that_failed_are_named_first() -> None:
    model = ScriptedModel(["One.", RateLimitedError(""), "Three."])
    answer = await ToolsOfModel(model).tool("ask").prepare({"queries": ["A *b*?", "B?", "C?"]})(context())
    assert answer.startswith(
        "1 of 3 questions could not be answered: 2.\n\n## 1. A \\*b\\*?\n\nOne.\n\n## 2. B?\n\nNot answered: The model"
    )
    assert answer.endswith("## 3. C?\n\nThree.")


async def test_a_call_none_of_whose_questions_was_answered_has_failed() -> None:
    tools = ToolsOfModel(ScriptedModel([RateLimitedError(""), RateLimitedError("")]))
    with pytest.raises(FailedCallError, match="2 of 2 questions could not be answered: 1, 2"):
        await tools.tool("ask").prepare({"queries": ["A?", "B?"]})(context())


async def test_of_ten_questions_three_are_asked_at_once() -> None:
    gate = asyncio.Event()
    tools = ToolsOfModel(ScriptedModel([[gate, "Yes."]], repeat_last=True))
    call = asyncio.create_task(tools.tool("ask").prepare({"queries": [f"{n}?" for n in range(10)]})(context()))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(tools.model.requests) == 3
    gate.set()
    assert (await call).count("Yes.") == 10


def test_when_its_time_is_over_what_was_answered_is_told() -> None:
    async def call() -> str:
        tools = ToolsOfModel(ScriptedModel(["One.", [asyncio.Event()], [asyncio.Event()], "Four."]))
        deadline = asyncio.get_running_loop().time() + 60
        answer = await tools.tool("ask").prepare({"queries": ["A?", "B?", "C?", "D?"]})(context(deadline=deadline))
        assert 50 < asyncio.get_running_loop().time() - deadline + 60 < 60, "there is time to send it"
        return answer

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        answer = runner.run(call())
    assert answer.startswith("2 of 4 questions could not be answered: 2, 3.")
    assert "One." in answer
    assert "Four." in answer
    assert answer.count("Not answered: The answer took longer than allowed.") == 2


async def test_equal_questions_of_different_calls_share_one_answer() -> None:
    tools = ToolsOfModel(ScriptedModel(["One."]))
    answers = await asyncio.gather(*(tools.tool("ask").prepare({"query": "Sales?"})(context(str(n))) for n in range(3)))
    assert answers == ["One."] * 3
    assert await tools.tool("ask").prepare({"query": " Sales? "})(context("later")) == "One."


async def test_tools_share_no_answers_with_each_other() -> None:
    tools = ToolsOfModel(ScriptedModel(["One."]))
    assert await tools.tool("ask").prepare({"query": "7"})(context()) == "One."
    # That other tool would ask the Jobs API, which is not there.
    with pytest.raises(AssertionError, match="neither Genie nor the Jobs API"):
        await tools.tool("diagnose_job").prepare({"query": "7"})(context())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({}, "There is no question"), ({"queries": [*"0123456789A"]}, "11 questions are too many")],
)
def test_what_cannot_be_asked_is_refused_before_the_call(arguments: dict[str, object], sentence: str) -> None:
    tools = ToolsOfModel(ScriptedModel())
    for name in ("ask", "diagnose_job"):
        with pytest.raises(RefusedCallError, match=sentence):
            tools.tool(name).prepare(arguments)


def test_where_only_people_may_ask_it_is_refused_in_words() -> None:
    tools = ToolsOfModel(ScriptedModel(), requires_person=True)
    assert len(tools.tools) == 3
    for tool in tools.tools:
        with pytest.raises(RefusedCallError, match="Only people can ask this agent"):
            tool.prepare({"query": "Sales?"})


def test_a_tool_that_is_not_set_up_says_what_an_administrator_has_to_do() -> None:
    tools = ToolsOfModel(ScriptedModel())
    with pytest.raises(RefusedCallError, match="GENIE_SPACES"):
        tools.tool("ask_data").prepare({"query": "Sales?"})


def test_the_settings_say_which_tools_there_are_and_the_name_of_the_queue_of_ask() -> None:
    tools = ToolsOfModel(ScriptedModel(), FOUNDRY_TOOLS="ask_data,ask", FOUNDRY_TOOL_NAME="sales")
    assert {tool.name: tool.queue_name for tool in tools.tools} == {"ask": "sales", "ask_data": "ask-data"}
    assert not ToolsOfModel(ScriptedModel(), FOUNDRY_TOOLS="none").tools
