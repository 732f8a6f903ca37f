"""Packages that the Bot Framework's SDK imports and that nothing here uses: a twelfth of the start.

`msrest` imports them for its own HTTP client, which `app.bot.connector` takes the place of. Others in the process may
use them all the same: each is imported when one of its names is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_NAMES = ("oauthlib.oauth2", "requests_oauthlib", "charset_normalizer")


class _LazyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - anything that the module holds
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        self.__dict__.update(module.__dict__)
        return getattr(module, name)


def install() -> None:
    """Has to come before the first import of the SDK."""
    for name in _NAMES:
        if name not in sys.modules:
            sys.modules[name] = lazy = _LazyModule(name)
            # requests looks whether it is between 2 and 4; to find the true one takes longer than the rest.
            lazy.__dict__["__version__"] = "3.0.0"
