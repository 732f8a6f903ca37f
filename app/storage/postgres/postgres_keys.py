"""Keys of rows. An index takes no long text, and text no NUL, so a key is a hash of what identifies the row."""

from __future__ import annotations

import hashlib

from app.common.text import replace_lone_surrogates
from app.storage.conversations import ConversationKey


def digest(*parts: str) -> bytes:
    """SHA-256, different for different parts, wherever one ends and the next begins."""
    hashed = hashlib.sha256()
    for part in map(utf8, parts):
        hashed.update(len(part).to_bytes(8) + part)
    return hashed.digest()


def utf8(text: str) -> bytes:
    return replace_lone_surrogates(text).encode()


def conversation_columns(key: ConversationKey) -> tuple[bytes, bytes]:
    """The columns `conversation` and `thread`."""
    return digest(key.tenant, key.conversation), digest(key.thread)


def lock_of(key: ConversationKey) -> int:
    """The number of the advisory lock under which turns of the thread are entered and started, a signed 64-bit one."""
    return int.from_bytes(digest(key.tenant, key.conversation, key.thread)[:8], signed=True)
