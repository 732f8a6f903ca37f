"""What Foundry's agents are told of failed jobs, by which model, and where there are no jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.composition.completion_client import completion_client
from app.composition.core import Core
from app.composition.foundry_tools import OpenFoundryTools
from app.config import load_settings
from app.foundry.tools.foundry_tool import RefusedCallError, ToolCallContext
from app.jobs.environment import load_watch_settings

DATABRICKS = {
    "DATABRICKS_BASE_URL": "https://w.example",
    "DATABRICKS_TOKEN": "t",
    "DATABRICKS_MODEL_NAME": "sonnet",
    "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
}
AZURE = {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_OPENAI_DEPLOYMENT": "triage"}


async def test_azure_openai_explains_where_the_job_watch_uses_it_and_else_the_model_of_the_agent(
    tmp_path: Path,
) -> None:
    core = Core(load_settings(DATABRICKS | {"DATA_DIR": str(tmp_path)}))
    try:
        named = [
            completion_client(core, watch).name
            for watch in (None, load_watch_settings(DATABRICKS), load_watch_settings(DATABRICKS | AZURE))
        ]
        assert named == ["sonnet", "sonnet", "triage"]
    finally:
        await core.close()


async def test_where_an_app_is_the_model_an_administrator_has_to_name_the_workspace(tmp_path: Path) -> None:
    app = {"DATABRICKS_BASE_URL": "https://agent-1.aws.databricksapps.com", "DATA_DIR": str(tmp_path)}
    settings = load_settings(DATABRICKS | app)
    elsewhere = "https://w.example"
    for job_workspace_url, has_jobs in (("", False), (elsewhere, True)):
        core = Core(settings, job_workspace_url=job_workspace_url)
        tools = OpenFoundryTools(core, settings)
        try:
            diagnose = next(tool for tool in tools.tools if tool.name == "diagnose_job")
            # A URL of another workspace is refused before any is asked.
            sentence = f"not of {elsewhere}" if has_jobs else "put the workspace into DATABRICKS_HOST"
            with pytest.raises(RefusedCallError, match=sentence):
                await diagnose.prepare({"query": "https://evil.example/jobs/1"})(ToolCallContext("1"))
        finally:
            await tools.close()
            await core.close()
