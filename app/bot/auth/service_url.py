"""The allow-list of service URLs: replies, and the bot's token, are sent nowhere else."""

from __future__ import annotations

import re

from app.bot.auth.bot_identity import BotIdentity, addresses_of
from app.common.net import is_loopback

_MAX_CHARACTERS = 2048
_HIGHEST_PORT = 65535
# No user-info, query, fragment or non-ASCII name: parsers differ in how they read those.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[\w.~%!$&'()*+,;=:@/-]*)?",
    re.ASCII | re.IGNORECASE,
)


class UntrustedServiceUrlError(ValueError):
    """The text says why, without the URL."""


class ServiceUrls:
    """Allows the Bot Framework's hosts in the bot's cloud over https, or this machine for a bot without an app id."""

    def __init__(self, identity: BotIdentity) -> None:
        addresses = addresses_of(identity.cloud)
        self._local_only = not identity.app_id
        self._hosts = addresses.service_hosts | set(addresses.service_domains)
        self._suffixes = tuple(f".{domain}" for domain in addresses.service_domains)

    def check(self, url: object) -> str:
        """Returns `url` as it came. Raises `UntrustedServiceUrlError`."""
        if not isinstance(url, str) or not url:
            raise UntrustedServiceUrlError("there is no serviceUrl")
        parts = _URL.fullmatch(url) if len(url) <= _MAX_CHARACTERS else None
        if parts is None or int(parts["port"] or 0) > _HIGHEST_PORT:
            raise UntrustedServiceUrlError("the serviceUrl is not a plain http address")
        host = parts["host"].lower()
        if self._local_only:
            if not is_loopback(host.strip("[]")):
                raise UntrustedServiceUrlError("the serviceUrl is not on this machine, and the bot has no app id")
        elif parts["scheme"].lower() != "https" or parts["port"] not in {None, "443"}:
            raise UntrustedServiceUrlError("the serviceUrl is not https on its own port")
        elif host not in self._hosts and not host.endswith(self._suffixes):
            raise UntrustedServiceUrlError("the serviceUrl is not a host of the Bot Framework in this cloud")
        return url
