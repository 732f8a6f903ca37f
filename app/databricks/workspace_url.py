"""The workspace's address in the forms that people configure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.common.net import secure_origin


@dataclass(frozen=True, slots=True)
class WorkspaceUrl:
    """`host` is `https://<workspace>`, or an app's address; `model_base_url` is where the OpenAI-compatible paths
    begin.
    """

    host: str
    model_base_url: str

    @classmethod
    def parse(cls, base_url: str) -> WorkspaceUrl:
        """Takes the bare workspace, its serving-endpoints or AI gateway address, an endpoint's invocation URL, or a
        Databricks App: a bare one is asked below `/api`, where tokens are documented to work. Raises ValueError.
        """
        given = base_url.strip()
        url = given if "://" in given else f"https://{given}"
        host = secure_origin(url)
        path = urlsplit(url).path.rstrip("/")
        if not path or (path.startswith("/serving-endpoints/") and path.endswith("/invocations")):
            path = "/api" if _is_app(host) else "/serving-endpoints"
        for ending in ("/chat/completions", "/responses"):
            path = path.removesuffix(ending)
        return cls(host, host + path)

    @property
    def is_app(self) -> bool:
        """Whether the model is a Databricks App, which takes OAuth tokens only, and has none of the workspace's API."""
        return _is_app(self.model_base_url)

    @property
    def has_serving_endpoints(self) -> bool:
        """Elsewhere, in the AI gateway for one, models are not endpoints and have no task to look up."""
        return self.model_base_url == f"{self.host}/serving-endpoints"


def _is_app(host: str) -> bool:
    return (urlsplit(host).hostname or "").endswith(".databricksapps.com")
