"""The workspace's address in the forms that people configure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.common.net import secure_origin


@dataclass(frozen=True, slots=True)
class WorkspaceUrl:
    """`host` is `https://<workspace>`; `model_base_url` is where the OpenAI-compatible paths begin."""

    host: str
    model_base_url: str

    @classmethod
    def parse(cls, base_url: str) -> WorkspaceUrl:
        """Takes the bare workspace, its serving-endpoints or AI gateway address, or an endpoint's invocation URL.

        Raises ValueError.
        """
        given = base_url.strip()
        url = given if "://" in given else f"https://{given}"
        host = secure_origin(url)
        path = urlsplit(url).path.rstrip("/")
        for ending in ("/chat/completions", "/responses"):
            path = path.removesuffix(ending)
        if not path or (path.startswith("/serving-endpoints/") and path.endswith("/invocations")):
            path = "/serving-endpoints"
        return cls(host, host + path)

    @property
    def has_serving_endpoints(self) -> bool:
        """Elsewhere, in the AI gateway for one, models are not endpoints and have no task to look up."""
        return self.model_base_url == f"{self.host}/serving-endpoints"
