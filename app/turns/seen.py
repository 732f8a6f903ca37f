"""Which activities this worker has had already, so that a repeat does nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Seen:
    """Remembers the newest `most` keys."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def first_time(self, key: Hashable) -> bool:
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)
        return True
