"""Imports openai without the catalogue of its typed answers, which takes most of the import's time and memory.

Answers are read as JSON here. `openai.types` and `openai.lib` run their own `__init__` when one of their names is first
used, so other users of the package in the process notice nothing.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_log = logging.getLogger(__name__)

_LAZY_PACKAGES = ("openai.types", "openai.lib")
# `openai/__init__.py` takes these from `openai.lib` to offer them; both need the catalogue only when they are called.
_OFFERED_FUNCTIONS = ("pydantic_function_tool", "pydantic_responses_function_tool")


def import_openai() -> ModuleType:
    """Like `import openai`, in a quarter of the time. Falls back to it where the package is laid out differently."""
    if "openai" not in sys.modules:
        try:
            _install_lazy_packages()
            package = importlib.import_module("openai")
            for name in _LAZY_PACKAGES:
                setattr(package, name.rpartition(".")[2], sys.modules[name])
            return package
        except Exception:
            _log.warning("openai could not be imported without its types: the whole package is imported", exc_info=True)
            for name in [name for name in sys.modules if name == "openai" or name.startswith("openai.")]:
                del sys.modules[name]
    return importlib.import_module("openai")


class _LazyPackage(ModuleType):
    """A package whose `__init__` runs at the first use of a name that is not one of its modules."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - anything that the package holds
        if name.startswith("__"):
            raise AttributeError(name)
        if importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        object.__setattr__(self, "__class__", ModuleType)
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _install_lazy_packages() -> None:
    found = PathFinder.find_spec("openai")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("openai")
    for name in _LAZY_PACKAGES:
        sys.modules[name] = _package(name, Path(found.submodule_search_locations[0]) / name.rpartition(".")[2])
    for function in _OFFERED_FUNCTIONS:
        setattr(sys.modules["openai.lib"], function, _forwarded(function))


def _package(name: str, folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if not isinstance(spec, ModuleSpec) or not (folder / "__init__.py").is_file():
        raise ModuleNotFoundError(name)
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _LazyPackage
    return package


def _forwarded(function: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - the real one's
        return getattr(importlib.import_module("openai.lib._tools"), function)(*arguments, **named)

    return call
