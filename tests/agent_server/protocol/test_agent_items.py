from __future__ import annotations

from typing import Any

import pytest

from agent_server.protocol.agent_items import refuse_unless_honoured
from agent_server.protocol.api_error import ApiError


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "function_call_output", "call_id": "1", "output": "2"}, "input[1].type"),
        ({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}, "input[1].type"),
        (
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "?"}, {"type": "input_image", "image_url": ""}],
            },
            "input[1].content[1].type",
        ),
        ({"role": "user", "content": [{"type": "input_file", "file_data": "eA=="}]}, "input[1].content[0]"),
    ],
)
def test_what_the_agent_cannot_take_is_refused_by_its_place(item: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refusal:
        refuse_unless_honoured([{"role": "user", "content": "Hello"}, item])
    assert (refusal.value.status, refusal.value.param) == (400, param)


def test_its_own_items_may_come_back_as_history() -> None:
    refuse_unless_honoured(
        [
            {"type": "reasoning", "summary": []},
            {"type": "mcp_call", "name": "genie", "arguments": "{}"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
            {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
        ]
    )
