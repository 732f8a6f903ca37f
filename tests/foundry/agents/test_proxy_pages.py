"""A proxy on the way answers with a page of its own: that is said in a sentence, and nothing is taken for done."""

from __future__ import annotations

import pytest

from app.foundry.agents.foundry_calls import FoundryCalls
from tests.foundry.agents.conftest import QUICK, ProgramHarness
from tests.foundry.agents.test_command import run

PAGE = "<html><body>Sign in to the network</body></html>"
RESPONSES, RESPONSE = "POST /openai/v1/responses", "/openai/v1/responses/{id}"
CLASSIC_RUN = "/threads/{thread}/runs/{id}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = FoundryCalls.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "backoff", QUICK)


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("create", "GET /deployments/{name}"),
        ("create", "GET /connections"),
        ("create", "GET /agents"),
        ("create", "GET /agents/{name}"),
        ("ask", "POST /openai/v1/conversations"),
        ("ask", RESPONSES),
        ("ask", f"GET {RESPONSE}"),
        ("delete", "GET /agents"),
        ("delete", "DELETE /agents/{name}"),
        ("--classic create", "GET /assistants"),
        ("--classic create", "POST /assistants"),
        ("--classic ask", "POST /threads"),
        ("--classic ask", "POST /threads/{id}/messages"),
        ("--classic ask", "POST /threads/{thread}/runs"),
        ("--classic ask", f"GET {CLASSIC_RUN}"),
        ("--classic ask", "GET /threads/{id}/messages"),
        ("--classic delete", "GET /threads"),
        ("--classic delete", "DELETE /assistants/{id}"),
    ],
)
async def test_a_page_in_place_of_an_answer_is_no_success(
    harness: ProgramHarness, capsys: pytest.CaptureFixture[str], command: str, call: str
) -> None:
    way = [each for each in command.split() if each.startswith("--")]
    if not command.endswith("create"):
        assert await run(harness, *way, "create") == 0
    capsys.readouterr()
    harness.stand_in.faults.add(call, 200, times=100, body=PAGE)
    arguments = [*command.split(), *(["How many?"] if command.endswith("ask") else [])]
    assert await run(harness, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "html" not in said.err
    harness.stand_in.faults.waiting.clear()
    assert await run(harness, *way, "delete") == 0
    assert harness.stand_in.left() == []
