"""The floor: the same deltas over FastAPI, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from benchmarks.agent_servers.hundred_deltas import hundred_deltas

app = FastAPI()


@app.post("/responses")
async def responses(request: dict[str, Any]) -> StreamingResponse:
    async def lines() -> AsyncGenerator[str, None]:
        async for event in hundred_deltas():
            yield f"data: {json.dumps(event)}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[sys.argv.index("--port") + 1]), log_level="warning")
