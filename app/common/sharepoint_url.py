"""Addresses of files in SharePoint and OneDrive, as Teams sends them: no file is read from or stored at another."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.common.net import is_loopback

# https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges, and of the clouds of governments.
_DOMAINS = ("sharepoint.com", "sharepoint.us", "sharepoint-mil.us", "sharepoint.cn", "sharepoint.de")
_MAX_CHARACTERS = 4_096


class UntrustedFileUrlError(ValueError):
    """The text says why, without the URL, which may grant access to the file."""


def check_file_url(url: str, *, allows_loopback: bool = False) -> str:
    """The address as it came. `allows_loopback`: this machine too, as a laptop's stand-ins are there.

    Raises `UntrustedFileUrlError`.
    """
    if len(url) > _MAX_CHARACTERS or not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        raise UntrustedFileUrlError("it is no address of a file")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise UntrustedFileUrlError("it is no address of a file") from None
    if parts.username is not None or parts.password is not None:
        raise UntrustedFileUrlError("it names a user")
    if allows_loopback and parts.scheme in {"http", "https"} and is_loopback(host):
        return url
    if parts.scheme != "https" or port not in {None, 443}:
        raise UntrustedFileUrlError("it is not https")
    if not any(host.endswith(f".{domain}") for domain in _DOMAINS):
        raise UntrustedFileUrlError("its host is none of SharePoint or OneDrive")
    return url
