"""Hosts, URLs and their parts."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

_HOST_AND_PORT = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?")


def is_loopback(host: str) -> bool:
    """Whether a name or address, without port or brackets, is this machine's own. No name is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def secure_origin(url: str) -> str:
    """`https://host[:port]` of a URL; http too where the host is this machine.

    Raises ValueError for anything else, such as a URL that holds a password.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not secure or not _HOST_AND_PORT.fullmatch(parts.netloc) or not parts.hostname or parts.port == 0:
        raise ValueError("the address must begin with https:// and hold no password")
    return f"{parts.scheme}://{parts.netloc}"


def path_segment(name: str) -> str:
    """A name as one segment of a URL's path: nothing in it can lead to another path."""
    return quote(name, safe="") if name.strip(".") else quote(name, safe="").replace(".", "%2E")
