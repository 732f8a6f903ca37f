"""Which queues the settings give to Foundry's tools, and what starts on them."""

from __future__ import annotations

import pytest

from app.config import SettingsError, load_settings
from tests.composition.test_functions_host import WORKSPACE, triggers_with


def test_each_tool_has_a_trigger_on_its_queue_and_on_its_poison_queue() -> None:
    _, triggers = triggers_with(**WORKSPACE, FOUNDRY_TOOLS="ask,diagnose_job", FOUNDRY_TOOL_NAME="sales")
    found = {name: each for name, each in triggers.items() if "foundry" in name}
    assert {name: each["queueName"] for name, each in found.items()} == {
        "foundry_ask": "azure-function-sales-input",
        "foundry_ask_poison": "azure-function-sales-input-poison",
        "foundry_diagnose_job": "azure-function-diagnose-job-input",
        "foundry_diagnose_job_poison": "azure-function-diagnose-job-input-poison",
        "process_foundry_request": "foundry-requests",
        "process_foundry_request_poison": "foundry-requests-poison",
    }
    # With text the host would put members of the message over its properties.
    binary = {name for name, each in found.items() if each.get("dataType") == "BINARY"}
    assert binary == found.keys() - {"process_foundry_request"}


def test_without_tools_there_are_no_queues() -> None:
    assert load_settings({**WORKSPACE, "DATABRICKS_TOKEN": "t", "FOUNDRY_TOOLS": "none"}).foundry.queue_names == {}


@pytest.mark.parametrize("name", ["ask-data", "diagnose-job", "Sales", "a--b", "x" * 36])
def test_a_name_that_makes_no_queues_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="FOUNDRY_TOOL_NAME"):
        load_settings({**WORKSPACE, "DATABRICKS_TOKEN": "t", "FOUNDRY_TOOL_NAME": name})
