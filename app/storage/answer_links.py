"""Links to single texts: everybody who has a link can read its text for an hour."""

from __future__ import annotations

from typing import Final, Protocol

LINK_SECONDS: Final = 3600.0


class AnswerLinks(Protocol):
    async def link_to(self, text: str) -> str:
        """Keeps the text, and returns an address that only reads it, for `LINK_SECONDS`.

        Raises `app.storage.storage_errors.StorageError`.
        """
        ...

    async def close(self) -> None: ...
