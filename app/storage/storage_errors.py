"""What a caller of storage has to expect, whichever engine it is."""

from __future__ import annotations


class StorageError(Exception):
    """Storage did not answer in time, or refused; `__cause__` is the engine's own error.

    Whether a write has happened is not known. The same call may be made again: it finds what it has written itself.
    """
