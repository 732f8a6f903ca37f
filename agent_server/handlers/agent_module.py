"""Imports the file of somebody's agent."""

from __future__ import annotations
import __future__

import importlib
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec
from types import CodeType, ModuleType


def import_agent_module(name: str) -> ModuleType:
    """A name that only an annotation uses need not be imported, as from Python 3.14 on. Raises what it raises."""
    try:
        return importlib.import_module(name)
    except NameError:
        spec = find_spec(name)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            raise
        spec.loader = _UnevaluatedAnnotations(spec.loader.name, spec.loader.path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _UnevaluatedAnnotations(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        # Never from the cache, nor into it: it would hold another meaning of the same file.
        flags = __future__.annotations.compiler_flag
        code: CodeType = compile(self.get_data(self.path), self.path, "exec", flags=flags, dont_inherit=True)
        return code
