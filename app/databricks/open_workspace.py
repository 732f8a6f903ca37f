"""The workspace that the settings name, with the credential that they choose."""

from __future__ import annotations

from dataclasses import replace

from app.databricks.credentials import CredentialChoice, choose_credential
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from app.settings.databricks_settings import DatabricksSettings


def open_workspace(settings: DatabricksSettings, managed_identity_client_id: str | None = None) -> WorkspaceClient:
    """Nothing is asked before its first request. `managed_identity_client_id` names the identity that signs in where
    the settings name no other. Beside an app as the model, it is the workspace of the traces.
    """
    url = WorkspaceUrl.parse(settings.base_url)
    if url.is_app and settings.mlflow_base_url:
        url = replace(url, host=settings.mlflow_base_url)
    choice = CredentialChoice(
        token=settings.token,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        auth_type=settings.auth_type,
        config_profile=settings.config_profile,
        managed_identity_client_id=managed_identity_client_id,
    )
    return WorkspaceClient(url, choose_credential(url.host, choice))
