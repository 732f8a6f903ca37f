"""People and the model are told which tools there are, which are not available, and what was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.agent.agent import Agent
from app.agent.commands import Commands
from app.agent.events import Answer
from app.agent.turn import Turn
from app.common.caller import Caller
from app.content.blocks import Fact, Facts, Folded
from app.models.model import ToolCall
from app.storage.conversations import ConversationKey
from app.tools.base import AnyTool, Effect, RawArguments, Tool, ToolContext, ToolError, ToolOutput, UnavailableTools
from app.translation import Sentence
from tests.fakes.scripted_model import ScriptedModel
from tests.fakes.tools import StaticTools

KEY = ConversationKey("tenant", "conversation")


async def run(arguments: RawArguments, context: ToolContext) -> ToolOutput:
    if not arguments.values:
        raise ToolError("nothing to do")
    return ToolOutput("done")


READ = Tool("read_it", "", RawArguments, run, Effect.READ_ONLY)
SEARCH = Tool("search", "", RawArguments, run, Effect.READ_ONLY, title="Search **x** `y`")
CHANGE = Tool("change", "", RawArguments, run, Effect.NEEDS_APPROVAL, title="tickets: close")
GONE = UnavailableTools("wiki", Sentence("it does not answer"))


async def nothing(*_: object) -> Any:
    raise AssertionError


class Some:
    async def tools(self, caller: Caller) -> Sequence[AnyTool | UnavailableTools]:
        return [READ, SEARCH, CHANGE, GONE]


async def test_tools_says_what_there_is_and_what_is_not_available() -> None:
    agent = Agent(ScriptedModel(), [Some()], system_prompt="", history_token_budget=0)
    turn = Turn("1", KEY, "/tools", locale="en")
    answer = await Commands(nothing, nothing, agent.tools_for).answer(turn)
    assert answer is not None
    assert answer.text.splitlines() == [
        "Tools that I can use:",
        "",
        "- `read it`",
        "- `Search **x** y`",
        "- `tickets: close`, after an approval",
        "",
        "Not available now:",
        "",
        "- `wiki`: it does not answer",
    ]
    assert await Commands(nothing, nothing).answer(turn) == Answer("I have no tools here.", by_model=False)


async def test_the_model_is_told_what_is_not_available_and_the_person_what_was_done() -> None:
    secret = "dapi" + "0" * 32
    calls = [
        ToolCall("1", "search", f'{{"q": "sales  in May {secret}", "n": 3}}'),
        ToolCall("2", "search", "{}"),
        ToolCall("3", "read_it", "{}"),
    ]
    model = ScriptedModel([calls, "Here."])
    agent = Agent(model, [Some()], system_prompt="Be brief.", history_token_budget=0)
    events = [event async for event in agent.answer(Turn("1", KEY, "Why?", locale="en"), [])]
    assert model.requests[0].messages[0].content.startswith("Be brief.")
    assert "- wiki: it does not answer" in model.requests[0].messages[0].content
    end = events[-1]
    assert isinstance(end, Answer)
    facts = (
        Fact("Search **x** `y`", "sales in May [secret removed], 3"),
        Fact("Search **x** `y`", "did not work"),
    )
    assert end.blocks == (Folded("What I did", (Facts(facts),)),)


async def test_without_tools_worth_naming_nothing_is_folded_and_the_prompt_is_as_it_was() -> None:
    model = ScriptedModel([[ToolCall("1", "read_it", '{"a": 1}')], "Here."])
    agent = Agent(model, [StaticTools([READ])], system_prompt="Be brief.", history_token_budget=0)
    events = [event async for event in agent.answer(Turn("1", KEY, "Why?", locale="en"), [])]
    end = events[-1]
    assert isinstance(end, Answer)
    assert end.blocks == ()
    assert model.requests[0].messages[0].content == "Be brief."
