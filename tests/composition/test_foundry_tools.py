"""Which model explains failed jobs to Foundry's agents."""

from __future__ import annotations

from pathlib import Path

from app.composition.completion_client import completion_client
from app.composition.core import Core
from app.config import load_settings
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
