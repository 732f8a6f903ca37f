"""What agents in Foundry are told of the tools."""

from __future__ import annotations

import json

from app.foundry.tools.tool_definitions import tool_definitions
from app.settings.foundry_settings import FoundryToolSettings
from app.settings.genie_settings import GenieSettings

SPACES = [
    {"id": "1", "alias": "Sales", "description": "Orders"},
    {"id": "2", "alias": "sales"},
    {"id": "3", "alias": "Staff", "description": "x" * 1_000},
    {"id": "4"},
]


def test_each_space_has_a_name_of_its_own() -> None:
    genie = GenieSettings.model_validate({"GENIE_SPACES": json.dumps(SPACES)})
    definitions = tool_definitions(FoundryToolSettings.model_validate({}), genie)
    space = definitions["ask_data"].parameters["properties"]["space"]
    assert space["enum"] == ["1", "2", "Staff", "4"]
    assert space["description"].startswith("Which Genie space is asked. 1: Orders. Staff: xxx")
    assert len(space["description"]) == 1_000
    assert list(definitions) == ["ask", "ask_data", "diagnose_job"]
