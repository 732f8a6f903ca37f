from __future__ import annotations

from typing import Any

import pytest

from agent_server.tracing.stream_output import StreamOutput


def said(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.mark.parametrize(
    ("frames", "value"),
    [
        ([], None),
        (
            [
                {"type": "response.created", "response": {"id": "r"}},
                {"type": "response.completed", "response": {"a": 1}},
            ],
            {"a": 1},
        ),
        ([{"type": "response.output_text.delta", "delta": each} for each in ("Hel", "lo")], said("Hello")),
        ([{"choices": [{"delta": {"content": each}}]} for each in ("Hel", "lo", None)], said("Hello")),
        ([{"choices": []}, {"choices": [{"delta": {"content": "Hi"}}]}, {"choices": [], "usage": {}}], said("Hi")),
        ([{"delta": {"content": "Hel"}}, {"delta": {"content": "lo"}}], said("Hello")),
        ([{"rows": 1}, {"rows": 2}], {"rows": 2}),
        ([{"type": "response.created", "response": {"id": "r"}}, {"type": "error"}], {"type": "error"}),
    ],
)
def test_the_frames_of_a_stream_come_to_one_output(frames: list[dict[str, Any]], value: Any) -> None:
    output = StreamOutput()
    for frame in frames:
        output.add(frame)

    assert output.value == value
