from __future__ import annotations

from collections.abc import AsyncGenerator

from app.agent.agent import Agent
from app.agent.events import Answer
from app.agent.turn import Turn
from app.common.caller import Caller
from app.models.model import Completed, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from app.storage.conversations import ConversationKey
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolOutput


class Nothing(ToolArguments): ...


class Counting:
    """A model that calls a tool, answers, and says what each request used; the second one does not."""

    name = "counting"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        match sum(message.role == "tool" for message in request.messages):
            case 0:
                yield Completed((ToolCall("a", "look", "{}"),), usage=Usage(10, 1))
            case 1:
                yield Completed((ToolCall("b", "look", "{}"),))
            case _:
                yield TextDelta("Done.")
                yield Completed(usage=Usage(30, 3))

    async def close(self) -> None: ...

    async def _look(self, arguments: Nothing, context: ToolContext) -> ToolOutput:
        return ToolOutput("rain")

    async def tools(self, caller: Caller) -> list[AnyTool]:
        return [Tool("look", "Looks.", Nothing, self._look, Effect.READ_ONLY)]


async def test_an_answer_says_what_all_its_requests_to_the_model_used() -> None:
    model = Counting()
    agent = Agent(model, [model], system_prompt="You help.", history_token_budget=1000)
    events = [event async for event in agent.answer(Turn("t", ConversationKey("tenant", "c"), "How is it?"), [])]
    assert isinstance(events[-1], Answer)
    assert events[-1].usage == Usage(40, 4)
