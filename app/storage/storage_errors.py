"""The errors of every storage engine."""

from __future__ import annotations


class ConcurrentUpdateError(Exception):
    """Another worker has written the row since it was read."""


class StorageError(Exception):
    """Storage did not answer in time, or refused. `__cause__` is the engine's own error.

    A write may have happened all the same. The same call may be repeated: it recognizes its own earlier write.
    """
