"""The id of the trace of a response that is kept, on the whole server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.agent_server.http.serving import frames
from tests.agent_server.page.whole_server import whole_server


class Trace:
    trace_id = "tr-7"

    def end(self, output: Any, error: Any = None) -> None: ...


class Tracer:
    def start(self, name: str, request: Any, **_: str) -> Trace:
        return Trace()


@pytest.fixture(autouse=True)
def _traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_server.composition.host.request_tracer", Tracer)


async def test_a_response_that_is_kept_names_its_trace_and_a_stream_where_its_header_asks_for_it(
    tmp_path: Path,
) -> None:
    question = {"input": "Hi", "store": True}
    async with whole_server(tmp_path) as server:
        headers = {"X-Forwarded-User": "ann"}
        whole = await server.http.post("/responses", json=question, headers=headers)
        plain = await server.http.post("/responses", json={**question, "stream": True}, headers=headers)
        headers["x-mlflow-return-trace-id"] = "true"
        asked = await server.http.post(
            "/responses", json={**question, "stream": True, "background": True}, headers=headers
        )
    assert whole.json()["metadata"] == {"trace_id": "tr-7"}
    assert [frame["type"] for frame in frames(plain.text)[-2:-1]] == ["response.completed"]
    assert frames(asked.text)[-2:] == [{"trace_id": "tr-7"}, "[DONE]"]
