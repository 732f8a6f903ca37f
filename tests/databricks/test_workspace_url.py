from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.databricks.workspace_url import WorkspaceUrl

APP = "https://agent-1.2.azure.databricksapps.com"
HOST = "https://adb-1.2.azuredatabricks.net"


@pytest.mark.parametrize(
    ("given_address", "model_base_url"),
    [
        (HOST, f"{HOST}/serving-endpoints"),
        (f"{HOST}/", f"{HOST}/serving-endpoints"),
        ("adb-1.2.azuredatabricks.net", f"{HOST}/serving-endpoints"),
        (f"{HOST}/serving-endpoints/", f"{HOST}/serving-endpoints"),
        (f"{HOST}/?o=12345", f"{HOST}/serving-endpoints"),
        (f"{HOST}/serving-endpoints/my-model/invocations", f"{HOST}/serving-endpoints"),
        (f"{HOST}/serving-endpoints/chat/completions", f"{HOST}/serving-endpoints"),
        (f"{HOST}/ai-gateway/mlflow/v1", f"{HOST}/ai-gateway/mlflow/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/serving-endpoints"),
        ("http://127.0.0.1:8000/api/responses", "http://127.0.0.1:8000/api"),
        (APP, f"{APP}/api"),
        (f"{APP}/api/v1", f"{APP}/api/v1"),
        (f"{APP}/responses", APP),
    ],
)
def test_every_address_a_person_may_copy_leads_to_the_model(given_address: str, model_base_url: str) -> None:
    address = WorkspaceUrl.parse(given_address)
    assert address.model_base_url == model_base_url
    assert model_base_url.startswith(address.host)


@pytest.mark.parametrize(
    "wrong", ["", "http://adb-1.2.azuredatabricks.net", "ftp://x", "https://me:pw@host", "https://", "https://a b"]
)
def test_an_address_that_would_expose_the_token_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        WorkspaceUrl.parse(wrong)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert WorkspaceUrl.parse(text).host
