from __future__ import annotations

from typing import Any

from agent_server.protocol.agent_event_items import AgentEventItems
from app.agent.events import (
    Answer,
    BlockAdded,
    Event,
    Failure,
    Status,
    Suspended,
    TextAdded,
    ToolFinished,
    ToolStarted,
    interruption,
)
from app.content.blocks import Action, Actions, Column, Table
from app.content.citation import Citation
from app.messaging.actions import ask_button, call_button
from app.messaging.result_files import file_button
from app.models.model import Usage
from tests.agent_server.protocol.accumulated import accumulated, assembler

TABLE = Table((Column("a"),), (("1",),))
BUTTONS = Actions((Action("approve", "Approve"),))


def answered(*events: Event) -> dict[str, Any]:
    """The response at the end."""
    items, response = AgentEventItems(), assembler()
    strict = response.begin()
    for event in events:
        for loose in items.add(event):
            strict += response.add(loose)
    assert response.has_ended
    return accumulated(strict)


def parts(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for item in response["output"] if item["type"] == "message" for part in item["content"]]


def test_an_answer_is_a_message() -> None:
    response = answered(TextAdded("Hel"), TextAdded("lo"), Answer("Hello", usage=Usage(3, 2)))
    assert (response["status"], response["usage"]["total_tokens"]) == ("completed", 5)
    assert [part["text"] for part in parts(response)] == ["Hello"]


def test_a_tool_that_the_agent_called_itself_stands_between_its_words_and_is_not_the_clients_to_call() -> None:
    called: list[Event] = [
        ToolStarted("1", "genie", "Asking sales"),
        Status("Reading"),
        ToolFinished("1", "genie", succeeded=True),
    ]
    failed: list[Event] = [ToolStarted("2", "sql"), ToolFinished("2", "sql", succeeded=False)]
    output = answered(TextAdded("Wait."), *called, *failed, TextAdded("\n\n42"), Answer("Wait.\n\n42"))["output"]
    assert [item["type"] for item in output] == ["message", "mcp_call", "reasoning", "mcp_call", "message"]
    assert (output[1]["name"], output[1]["title"], output[1]["status"]) == ("genie", "Asking sales", "completed")
    assert (output[3]["status"], output[3]["error"]["type"]) == ("failed", "mcp_tool_execution_error")
    assert output[2]["summary"] == [{"type": "summary_text", "text": "Reading"}]


def test_citations_stand_where_their_number_stands() -> None:
    cited = Citation(1, "Policy", "https://example.com/policy", "It says so.")
    unmarked, local = Citation(2, "Other", "https://example.com/other"), Citation(3, "notes.txt")
    text = "So [1] and [9]. See [3]."
    end = Answer(text, (cited, unmarked, local))
    (part,) = parts(answered(TextAdded(text), cited, unmarked, local, end))
    found = {each.get("title") or each["filename"]: each for each in part["annotations"]}
    assert text[found["Policy"]["start_index"] : found["Policy"]["end_index"]] == "[1]"
    assert found["Policy"]["quote"] == "It says so."
    assert (found["Other"]["start_index"], found["Other"]["end_index"]) == (0, len(text))
    assert found["notes.txt"]["type"] == "file_citation"
    assert len(part["annotations"]) == 3


def test_blocks_are_in_the_custom_outputs_with_the_buttons_that_work_outside_of_chats() -> None:
    ask, run = ask_button("By month?", "Show it by month"), call_button("Run again", "run_again", {"result": "r"})
    buttons = Actions((*BUTTONS.actions, ask, run, file_button("As a CSV file", "r")))
    response = answered(TextAdded("Here:"), BlockAdded(TABLE), Answer("Here:", blocks=(TABLE, BUTTONS, buttons)))
    table, offered = response["custom_outputs"]["blocks"]
    assert table["kind"] == "table"
    assert [action["verb"] for action in offered["actions"]] == ["ask", "call_tool", "send_file"]
    # Once more as text, for clients that read nothing else.
    assert response["output"][-1]["id"].startswith("blocks_")
    assert "".join(part["text"] for part in parts(response)) == "Here:\n\n| a |\n| --- |\n| 1 |"


def test_a_failure_says_what_to_do_and_its_error_id() -> None:
    response = answered(TextAdded("So far"), Failure("Ask again later.", "e-1", "So far", blocks=(TABLE,)))
    assert response["status"] == "failed"
    assert response["error"]["message"] == "Ask again later. (error id e-1)"
    assert response["output"][0]["content"][0]["text"] == "So far"
    assert response["custom_outputs"]["blocks"]


def test_an_answer_that_was_cut_short_is_incomplete() -> None:
    response = answered(TextAdded("Long"), Answer("Long", truncated=True))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_a_person_is_asked_by_an_approval_request() -> None:
    asked = Suspended("a-1", "May I?", "Well.", blocks=(BUTTONS,), title="Delete a job", arguments='{"id": 1}')
    response = answered(TextAdded("Well."), asked)
    request = response["output"][-1]
    assert (request["type"], request["id"], request["name"]) == ("mcp_approval_request", "a-1", "Delete a job")
    assert request["arguments"] == '{"id": 1}'
    assert "".join(part["text"] for part in parts(response)) == "Well.\n\nMay I?"


def test_the_place_of_an_interruption_is_a_note() -> None:
    text = parts(answered(TextAdded(interruption("Interrupted here.")), TextAdded("more"), Answer("more")))[0]["text"]
    assert text == "\n\n*Interrupted here.*\n\nmore"
