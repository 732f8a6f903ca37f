"""docs/extending.md is true: what it shows works when it is typed in."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import azure.functions as func
import pytest

from app import config
from app.composition import core, tool_providers
from app.composition.functions_host import FunctionsHost
from app.config import load_settings
from app.local.connector_server import ConnectorServer
from app.local.indexing import index
from tests.fakes.serving_endpoint import DONE, TOKEN, ServingEndpoint, Stream, chat_chunk, chat_stream
from tests.fakes.tools import without_data_marks

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


def shown(heading: str) -> list[str]:
    """The blocks of Python in a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def module_of(source: str, name: str, folder: Path) -> Iterator[ModuleType]:
    file = folder / f"{name}_of_the_page.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[file.stem]


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[ModuleType]:
    """The module of the page's tool."""
    yield from module_of(shown("A tool")[0], "calendar", tmp_path)


@pytest.fixture
def genie_settings(tmp_path: Path) -> Iterator[ModuleType]:
    """The module of the page's section of settings."""
    yield from module_of(shown("A setting")[1], "genie_settings", tmp_path)


def test_the_section_of_the_page_is_loaded_and_checked_with_the_others(genie_settings: ModuleType) -> None:
    composed = {**vars(config), "GenieSettings": genie_settings.GenieSettings}
    # Without this file's own future import, by which the annotations would stay text.
    exec(compile(shown("A setting")[2], "page", "exec", dont_inherit=True), composed)
    kind = composed["Settings"]
    workspace = {"DATABRICKS_BASE_URL": "https://w.example", "DATABRICKS_MODEL_NAME": "m"}
    settings = config.load_sections(kind, {**workspace, "GENIE_SPACE_ID": "s", "GENIE_MAX_ROWS": "50"})
    assert (settings.genie.space_id, settings.genie.max_rows) == ("s", 50)
    with pytest.raises(config.SettingsError) as error:
        config.load_sections(kind, {"GENIE_MAX_ROWS": "5000"})
    assert [problem.partition(":")[0] for problem in error.value.problems] == [
        "DATABRICKS_BASE_URL",
        "DATABRICKS_MODEL_NAME",
        "GENIE_MAX_ROWS",
        "GENIE_SPACE_ID",
    ]


def test_the_trigger_of_the_page_is_one_that_hosts_serve() -> None:
    module = ModuleType("function_app_of_the_page")
    vars(module).update(app=func.FunctionApp(), func=func, host=None)
    exec(textwrap.dedent(shown("A trigger")[0]), vars(module))
    (timer,) = index(module, "").timers
    assert (timer.name, timer.schedule.expression) == ("greet_the_day", "0 0 6 * * *")


async def test_the_tool_of_the_page_answers_in_the_chat(
    calendar: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = {**vars(tool_providers), "CalendarTools": calendar.CalendarTools}
    exec(shown("A tool")[1], registered)
    monkeypatch.setattr(core, "tool_providers", registered["tool_providers"])
    call = {"name": "working_days", "arguments": '{"first": "2026-11-27", "last": "2026-12-31"}'}
    calls = [{"index": 0, "id": "c1", "type": "function", "function": call}]
    async with ServingEndpoint("m") as endpoint, ConnectorServer() as channel:
        endpoint.replies.append(Stream([chat_chunk({"tool_calls": calls}), chat_chunk({}, "tool_calls"), DONE]))
        endpoint.replies.append(chat_stream("There are 25."))
        settings = {
            "DATABRICKS_BASE_URL": endpoint.base_url,
            "DATABRICKS_MODEL_NAME": "m",
            "DATABRICKS_TOKEN": TOKEN,
            "DATA_DIR": str(tmp_path),
        }
        host = FunctionsHost(load_settings(settings))
        activity = {
            "type": "message",
            "id": "1",
            "text": "How many working days are left this year?",
            "channelId": "emulator",
            "serviceUrl": channel.service_url,
            "from": {"id": "ann"},
            "recipient": {"id": "bot"},
            "conversation": {"id": "c1"},
        }
        headers = {"Host": "localhost:7071", "Content-Type": "application/json"}
        assert (await host.receive_activity("POST", headers, json.dumps(activity).encode())).status == 200
        await host.close()
    offered = [tool["function"]["name"] for tool in endpoint.asked[0].body["tools"]]
    assert offered == ["current_time", "working_days"]
    assert without_data_marks(endpoint.asked[1].body["messages"][-1]["content"]) == "25 working days"
    sent = json.dumps([call.activity for call in channel.calls])
    assert "There are 25." in sent
    assert "Working days" in sent


@pytest.mark.parametrize("heading", ["A tool", "A card", "A setting", "A trigger"])
def test_each_section_fits_on_a_screen(heading: str) -> None:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert 10 < section.count("\n") < 75
