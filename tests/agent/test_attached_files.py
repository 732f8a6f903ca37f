"""A turn with files: they are read before the model is asked, and what cannot be read is said to both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.agent.agent import Agent
from app.agent.events import Answer, Event, Status
from app.agent.turn import Turn, UnreadReason
from app.storage.conversations import ConversationKey, StoredMessage
from app.tools.attached_files import AttachedFile
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolOutput
from tests.fakes.scripted_model import ScriptedModel

KEY = ConversationKey("t", "c")
FILE = AttachedFile("a.csv", "https://contoso.sharepoint.com/a?tempauth=secret")


async def _nothing(arguments: ToolArguments, context: ToolContext) -> ToolOutput:
    return ToolOutput("")


class Files:
    def __init__(self, *notes: str) -> None:
        self.notes = notes
        self.asked = 0
        self.added: list[AttachedFile] = []

    async def add(self, files: Sequence[AttachedFile], context: ToolContext) -> Sequence[str]:
        self.added += files
        return self.notes

    async def tools(self, conversation: ConversationKey) -> Sequence[AnyTool]:
        self.asked += 1
        return [Tool("query_files", "Reads", ToolArguments, _nothing, Effect.READ_ONLY)]


async def ask(
    files: Files | None, turn: Turn, *history: StoredMessage, **more: Any
) -> tuple[list[Event], ScriptedModel]:
    model = ScriptedModel(["Hm."])
    agent = Agent(model, system_prompt="Be brief.", history_token_budget=1000, files=files)
    return [event async for event in agent.answer(turn, history, **more)], model


def text_of(events: Sequence[Event]) -> str:
    assert isinstance(events[-1], Answer)
    return events[-1].text


async def test_files_are_read_before_the_model_is_asked_and_what_is_missing_is_told_to_both() -> None:
    files = Files("The file `a.csv` is empty.")
    events, model = await ask(files, Turn("1", KEY, "What is this?", files=(FILE,)))
    assert events[0] == Status("Reading the files…")
    assert files.added == [FILE]
    assert text_of(events) == "> The file `a.csv` is empty.\n\nHm."
    (request,) = model.requests
    assert [tool.name for tool in request.tools] == ["query_files"]
    prompt = request.messages[-1].content
    assert prompt.startswith('Attached file: "a.csv"\n\nWhat is this?')
    assert "(The person is told: The file `a.csv` is empty.)" in prompt
    assert "secret" not in str(request.messages)


@pytest.mark.parametrize(
    ("said_before", "asked"),
    [
        ((), 0),
        ((StoredMessage("user", "What is this?"), StoredMessage("assistant", 'Attached file: "a"')), 0),
        ((StoredMessage("user", f"{FILE.prompt}\n\nWhat is this?"), StoredMessage("assistant", "Hm.")), 1),
    ],
)
async def test_the_storage_is_asked_for_files_only_where_some_were_attached(
    said_before: Sequence[StoredMessage], asked: int
) -> None:
    files = Files()
    _, model = await ask(files, Turn("1", KEY, "And now?"), *said_before)
    assert files.asked == asked
    assert len(model.requests[0].tools) == asked


async def test_a_resumed_turn_that_has_shown_something_reads_its_files_no_second_time() -> None:
    files = Files("The file `a.csv` is empty.")
    events, _ = await ask(files, Turn("1", KEY, "What?", files=(FILE,)), said="> The file `a.csv` is empty.\n\nWell,")
    assert files.added == []
    assert text_of(events).count("is empty") == 1


async def test_where_files_may_be_kept_from_us_the_model_can_say_where_they_arrive() -> None:
    turn = Turn("1", KEY, "What is in the file?", receives_files=False)
    for files, told in ((Files(), True), (None, False)):
        _, model = await ask(files, turn)
        assert ("one-to-one chat" in model.requests[0].messages[0].content) is told


@pytest.mark.parametrize(
    ("files", "more", "says"),
    [
        (Files(), {"unread": ("`b.xlsx`",)}, "I read CSV and text files alone, so I have not read: `b.xlsx`"),
        (
            Files(),
            {"unread": ("a file",), "unread_reason": UnreadReason.NOT_ONE_TO_ONE},
            "I read files in one-to-one chats in Teams alone, so I have not read: a file",
        ),
        (None, {"unread": ("an image",), "files": (FILE,)}, "so I have not read: an image, `a.csv`"),
    ],
)
async def test_what_is_not_read_is_named_with_the_reason(files: Files | None, more: dict[str, Any], says: str) -> None:
    events, _ = await ask(files, Turn("1", KEY, "What is this?", **more))
    assert says in text_of(events)
