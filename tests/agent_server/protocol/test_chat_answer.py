from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agent_server.protocol.chat_answer import ChatChunks, completion_of
from tests.agent_server.protocol.accumulated import assembler
from tests.agent_server.protocol.loose_events import ENDS, LOOSE_EVENTS

Json = dict[str, Any]


@given(st.lists(LOOSE_EVENTS, max_size=12), ENDS)
@settings(max_examples=100)
def test_chunks_of_any_answer_add_up_to_its_completion(loose: list[Json], end: Json | None) -> None:
    """As openai's own accumulator adds them up."""
    response, chunks = assembler(), ChatChunks("m", include_usage=True)
    events = response.begin()
    for event in [*loose, *([end] if end else [])]:
        events += response.add(event)
    said = [chunk for event in [*events, *response.finish()] for chunk in chunks.add(event)]
    if response.status == "failed":
        assert list(said.pop()) == ["error"]
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in said:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    if response.status == "failed":
        return
    streamed = state.get_final_completion().choices[0]
    whole = ChatCompletion.model_validate(completion_of(response.response, "m")).choices[0]
    assert streamed.finish_reason == whole.finish_reason
    assert _calls(streamed.message) == _calls(whole.message)


def _calls(message: Any) -> list[tuple[str, str, str]]:
    return [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
