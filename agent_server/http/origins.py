"""Which host a request may name, and which page of a browser may send it."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from agent_server.protocol.api_error import ApiError

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def check_host_and_origin(method: str, headers: Mapping[str, str], *, in_app: bool) -> None:
    """Raises `ApiError`.

    On a developer's machine every host is loopback: a page of another name, which its owner lets point here, may not
    ask. In an app the proxy has signed the person in, and says in X-Forwarded-Host which address they opened. Programs
    send no Origin; browsers send it with all that changes something.
    """
    host = headers.get("host", "")
    if not in_app and not _is_loopback(host):
        raise ApiError(421, "This server answers to localhost and 127.0.0.1 only.", code="host_not_allowed")
    origin = headers.get("origin")
    if origin is None or method in _SAFE_METHODS:
        return
    asking = _network_location(origin)
    own = (headers.get("x-forwarded-host", "") if in_app else "") or host
    # A development server of the page is on another port.
    if asking and (
        _without_default_port(asking) == _without_default_port(own) or (not in_app and _is_loopback(asking))
    ):
        return
    raise ApiError(403, "A page of another address may not ask this server.", code="origin_not_allowed")


def _network_location(origin: str) -> str:
    try:
        parts = urlsplit(origin.strip())
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


def _without_default_port(location: str) -> str:
    return location.strip().lower().removesuffix(":443").removesuffix(":80")


def _is_loopback(location: str) -> bool:
    try:
        name = urlsplit(f"//{location}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
