"""Imports every module that the unpacked package's own files import, inside functions too.

Run by the package's Python: `python -I -S -B imports.py FOLDER SITE_PACKAGES`. Prints what is missing, as JSON: file,
line and reason.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import sys


def main() -> None:
    folder, site_packages = sys.argv[1:]
    sys.path[:0] = [folder, site_packages]
    json.dump([problem for file in _files(folder) for problem in _missing(folder, file)], sys.stdout)


def _files(folder: str) -> list[str]:
    found = [name for name in os.listdir(folder) if name.endswith(".py")]
    for inside, _, names in os.walk(os.path.join(folder, "app")):
        found += [os.path.relpath(os.path.join(inside, name), folder) for name in names if name.endswith(".py")]
    return sorted(found)


def _missing(folder: str, file: str) -> list[tuple[str, int, str]]:
    with open(os.path.join(folder, file), "rb") as opened:
        tree = ast.parse(opened.read())
    for_types = {node for block in ast.walk(tree) for part in _for_types(block) for node in ast.walk(part)}
    found = []
    for node in ast.walk(tree):
        if node not in for_types:
            try:
                _import(node)
            except Exception as error:
                found.append((file, getattr(node, "lineno", 1), f"{type(error).__name__}: {error}"))
    return found


def _for_types(node: ast.AST) -> list[ast.stmt]:
    is_block = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return node.body if isinstance(node, ast.If) and is_block else []


def _import(node: ast.AST) -> None:
    if isinstance(node, ast.Import):
        for name in node.names:
            importlib.import_module(name.name)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        module = importlib.import_module(node.module)
        for name in node.names:
            if not hasattr(module, name.name):
                importlib.import_module(f"{node.module}.{name.name}")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
        for given in node.args[:1]:
            if isinstance(given, ast.Constant) and isinstance(given.value, str):
                importlib.import_module(given.value)


if __name__ == "__main__":
    main()
