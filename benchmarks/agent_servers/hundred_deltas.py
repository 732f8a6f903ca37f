"""What all of them answer: a hundred deltas, 50 ms apart, as a model of twenty tokens a second would."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Any

DELTAS = 100
DELTA_SECONDS = float(os.environ.get("DELTA_SECONDS", "0.05"))
ITEM = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "token " * DELTAS, "annotations": []}],
}


async def hundred_deltas() -> AsyncGenerator[dict[str, Any], None]:
    for _ in range(DELTAS):
        await asyncio.sleep(DELTA_SECONDS)
        yield {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "token "}
    yield {"type": "response.output_item.done", "item": ITEM}
