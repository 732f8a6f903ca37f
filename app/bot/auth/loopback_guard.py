"""A bot without an app id has no token to check: it accepts calls from this machine alone.

Tunnels, proxies, web pages in a browser and DNS names that point at 127.0.0.1 reach a local port too; their headers
show it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from app.common.net import is_loopback

# Headers that proxies and tunnels add.
_FORWARDED_BY = ("x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-original-host")
_FORWARDED = re.compile(r"(?:^|[;,])\s*(?:for|host|by)\s*=\s*(\"[^\"]*\"|[^;,]*)", re.IGNORECASE)


def refusal_of_remote_caller(headers: Mapping[str, str], client_address: str | None) -> str | None:
    """Why the call is refused; None if nothing shows that it comes from elsewhere. `headers` have lower-case names."""
    host = headers.get("host")
    if client_address is None and host is None:
        return "nothing says where the caller is"
    if client_address is not None and not is_loopback(_without_port(client_address)):
        return "the caller is not on this machine"
    if host is not None and not is_loopback(_without_port(host)):
        return "the Host header does not name this machine"
    if any(not is_loopback(_without_port(hop)) for hop in _hops(headers)):
        return "the request was forwarded from elsewhere"
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_host_of(origin)):
        return "a web page elsewhere sent it"
    return None


def _hops(headers: Mapping[str, str]) -> list[str]:
    hops = [hop for name in _FORWARDED_BY if name in headers for hop in headers[name].split(",")]
    if "forwarded" in headers:
        hops += [hop.strip('"') for hop in _FORWARDED.findall(headers["forwarded"])] or ["unknown"]
    return hops


def _without_port(address: str) -> str:
    address = address.strip()
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin.strip()).hostname or ""
    except ValueError:
        return ""
