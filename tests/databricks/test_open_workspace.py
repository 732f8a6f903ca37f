from __future__ import annotations

from app.databricks.open_workspace import open_workspace
from app.settings.databricks_settings import DatabricksSettings

APP = "https://agent-1.azure.databricksapps.com"
WORKSPACE = "https://adb-1.azuredatabricks.net"


def opened(**settings: str) -> tuple[str, str]:
    url = open_workspace(DatabricksSettings.model_validate({"DATABRICKS_MODEL_NAME": "agent", **settings})).url
    return url.host, url.model_base_url


def test_beside_an_app_as_the_model_the_workspace_of_the_traces_is_the_workspace() -> None:
    assert opened(DATABRICKS_BASE_URL=APP, MLFLOW_BASE_URL=WORKSPACE) == (WORKSPACE, f"{APP}/api")
    assert opened(DATABRICKS_BASE_URL=APP) == (APP, f"{APP}/api")
    other = "https://adb-2.azuredatabricks.net"
    assert opened(DATABRICKS_BASE_URL=other, MLFLOW_BASE_URL=WORKSPACE) == (other, f"{other}/serving-endpoints")
