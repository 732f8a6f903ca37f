from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent_server.handlers.agent_module import import_agent_module
from agent_server.server import create_server


def test_names_that_only_annotations_use_need_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "annotated_agent.py").write_text("async def stream(request: dict) -> AsyncGenerator[dict, None]: ...\n")
    module = import_agent_module("annotated_agent")
    assert sys.modules["annotated_agent"] is module
    assert module.stream.__annotations__["return"] == "AsyncGenerator[dict, None]"


def test_any_other_missing_name_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "misspelt_agent.py").write_text("creat_server()\n")
    with pytest.raises(NameError, match="creat_server"):
        import_agent_module("misspelt_agent")
    assert "misspelt_agent" not in sys.modules


def test_an_unknown_task_type_is_said_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="agent/v1/responses, agent/v1/chat, agent/v2/chat"):
        create_server("agent/v9/telepathy")
