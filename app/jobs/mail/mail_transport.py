"""What a mail transport is: it hands one message to a mail server, and says who was refused."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Protocol

MAX_RECIPIENTS = 20
MAX_REASON_CHARACTERS = 150
_MAX_ADDRESS_CHARACTERS = 254

# The domain in ASCII: Python's own encoding of others makes "größe.de" the name of somebody else, "grösse.de".
_ADDRESS = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,12}")


AccessToken = Callable[[], Awaitable[str]]
"""An OAuth access token that is valid now. Raises what its source raises."""


class MailError(Exception):
    """The message reached nobody. Its text is one sentence for a person."""


class TemporaryMailError(MailError):
    """Worth another attempt in some minutes.

    `may_have_arrived`: the mail was under way when no answer came. `server_is_unreachable`: other mails would fail now
    too.
    """

    def __init__(self, sentence: str, *, may_have_arrived: bool = False, server_is_unreachable: bool = False) -> None:
        super().__init__(sentence)
        self.may_have_arrived = may_have_arrived
        self.server_is_unreachable = server_is_unreachable


class PermanentMailError(MailError):
    """The same attempt would fail again: somebody has to change a setting, or the mail."""


@dataclass(frozen=True, slots=True)
class RefusedRecipient:
    """`code` is the server's reply code, 0 where there is none. `reason` is one line."""

    address: str
    code: int
    reason: str

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500


class MailTransport(Protocol):
    @property
    def sender(self) -> str: ...

    async def send(self, message: Message, recipients: Sequence[str]) -> tuple[RefusedRecipient, ...]:
        """Returns those who were refused; all others have the mail. Raises MailError."""
        ...

    async def test_connection(self) -> None:
        """Connects and signs in, and sends nothing. Raises MailError."""
        ...


def usable_address(text: str) -> str | None:
    """The address, or None. No display name, comment, quotes, or domain beyond ASCII."""
    address = text.strip()
    is_usable = (
        len(address) <= _MAX_ADDRESS_CHARACTERS
        and _ADDRESS.fullmatch(address) is not None
        and address.isprintable()  # half a surrogate pair is not
    )
    return address if is_usable else None


def split_addresses(addresses: Sequence[str]) -> tuple[tuple[str, ...], tuple[RefusedRecipient, ...]]:
    """Usable addresses, each once, at most `MAX_RECIPIENTS`; and the others, refused."""
    usable: dict[str, str] = {}
    refused: list[RefusedRecipient] = []
    for text in addresses:
        address = usable_address(text[:1000])
        if address is None:
            refused.append(
                RefusedRecipient(
                    text[:100],
                    0,
                    "This is no email address that mail can go to; a domain beyond ASCII is written as xn--…",
                )
            )
        elif len(usable) >= MAX_RECIPIENTS and address.lower() not in usable:
            refused.append(RefusedRecipient(address, 0, f"A mail goes to {MAX_RECIPIENTS} addresses at most."))
        else:
            usable.setdefault(address.lower(), address)
    return tuple(usable.values()), tuple(refused[:MAX_RECIPIENTS])
