"""The addresses of a Foundry project and of a storage account's queues, as people copy them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from app.common.net import is_loopback

PROJECT_FORM = "https://<resource>.services.ai.azure.com/api/projects/<project>"
QUEUE_FORM = "https://<account>.queue.core.windows.net"
MCP_FORM = "https://<app>.azurewebsites.net/api/mcp"

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# Of Azure, of its clouds for governments and of the one in China.
_PROJECT_HOST = re.compile(rf"(?!services\.ai){_LABEL}\.(?:services\.)?ai\.azure\.(?:com|us|cn)")
_OTHER_AI_HOST = re.compile(rf"({_LABEL})\.(?:cognitiveservices|openai)\.azure\.(com|us|cn)")
_PROJECT_PATH = re.compile(r"/api/projects/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_STORAGE_HOST = re.compile(
    rf"({_LABEL})\.(blob|dfs|file|queue|table|web)\.(core\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn))"
)
# An account with a DNS zone of its own: https://learn.microsoft.com/azure/storage/common/storage-account-overview
_ZONED_QUEUE_HOST = re.compile(rf"{_LABEL}\.z[0-9]{{1,3}}\.queue\.storage\.azure\.net")
_LOCAL_ACCOUNT_PATH = re.compile(r"(?:/[a-z0-9]{3,24})?")
_MAX_CHARACTERS = 500


def project_endpoint_problem(text: str) -> str | None:
    """What is wrong with a project's endpoint, and its right form; None where nothing is. Holds no secret."""
    parts, problem = _split(text, PROJECT_FORM)
    if parts is None:
        return problem
    host = (parts.hostname or "").lower()
    if other := _OTHER_AI_HOST.fullmatch(host):
        resource, cloud = other.groups()
        right = f"https://{resource}.services.ai.azure.{cloud}/api/projects/<project>"
        return f"is the address of the models, not of the project; put {right}"
    if host in {"ai.azure.com", "ai.azure.us", "ai.azure.cn"}:
        return f"is the address of the portal; put {PROJECT_FORM}"
    if not (is_loopback(host) or _PROJECT_HOST.fullmatch(host)):
        return f"is not on a host of Foundry; put {PROJECT_FORM}"
    if not _PROJECT_PATH.fullmatch(parts.path.rstrip("/")):
        return f"does not end in /api/projects/<project>; put {PROJECT_FORM}"
    return None


def mcp_url_problem(text: str) -> str | None:
    """What is wrong with the address of our tools over MCP, and its right form; None where nothing is."""
    parts, problem = _split(text, MCP_FORM)
    if parts is None:
        return problem
    return None if parts.path.strip("/") else f"has no path; put {MCP_FORM}"


def queue_endpoint_problem(text: str) -> str | None:
    """What is wrong with a queue service's endpoint, and its right form; None where nothing is. Holds no secret."""
    if "accountname=" in text.lower():
        return f"is a connection string; put the queue service's address alone: {QUEUE_FORM}"
    parts, problem = _split(text, QUEUE_FORM)
    if parts is None:
        return problem
    host = (parts.hostname or "").lower()
    path = parts.path.rstrip("/")
    if is_loopback(host):
        return None if _LOCAL_ACCOUNT_PATH.fullmatch(path) else "has more than the account in its path"
    storage = _STORAGE_HOST.fullmatch(host)
    if storage is None and not _ZONED_QUEUE_HOST.fullmatch(host):
        return f"is not the address of a queue service; put {QUEUE_FORM}"
    if storage is not None and storage[2] != "queue":
        return f"is the {storage[2]} service's address; put https://{storage[1]}.queue.{storage[3]}"
    return f"has a path; put the queue service's address alone: https://{host}" if path else None


def _split(text: str, form: str) -> tuple[SplitResult | None, str]:
    """What both addresses have in common."""
    if len(text) > _MAX_CHARACTERS:
        return None, f"is longer than {_MAX_CHARACTERS} characters; put {form}"
    if "<" in text or ">" in text:
        return None, f"still has a placeholder in angle brackets; put your own names into {form}"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None, f"is not an address; put {form}"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None, f"does not begin with https://; put {form}"
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return None, f"begins with http://; put {form}"
    if parts.username is not None or parts.query or parts.fragment:
        return None, f"holds more than an address, such as a password or a signature; put {form}"
    return parts, ""
