"""Compiles the files named on standard input. Run by the target's Python: `python -I -S compiler.py ROOT`.

The result depends on nothing but the source and the interpreter's version. Prints what did not compile, as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import sys
import warnings

UNCHECKED_HASH = 1
"""The import system uses the bytecode without comparing it with the source."""


def compiled(source: bytes, deployed_path: str) -> bytes:
    """The content of a `.pyc`, as PEP 552 defines it. Raises SyntaxError and ValueError."""
    # marshal's output depends on which strings are interned and referenced elsewhere. While a first compilation of the
    # same source is alive, the second finds the same state whatever the process did before.
    first, code = (compile(source, deployed_path, "exec", dont_inherit=True, optimize=0) for _ in range(2))
    header = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH.to_bytes(4, "little") + importlib.util.source_hash(source)
    content = header + marshal.dumps(code)
    del first
    return content


def main() -> None:
    warnings.simplefilter("ignore")
    # Strings of one character are shared by the whole process, and anything in it may have interned them.
    for number in range(256):
        sys.intern(chr(number))
    job = json.load(sys.stdin)
    failed = {}
    for file in job["files"]:
        folder, name = os.path.split(os.path.join(job["root"], file))
        with open(os.path.join(folder, name), "rb") as opened:
            source = opened.read()
        try:
            content = compiled(source, job["deployed_root"] + "/" + file)
        except (SyntaxError, ValueError) as error:
            failed[file] = [getattr(error, "lineno", None) or 1, str(getattr(error, "msg", error))]
            continue
        cache = os.path.join(folder, "__pycache__")
        os.makedirs(cache, exist_ok=True)
        with open(os.path.join(cache, name[:-3] + "." + str(sys.implementation.cache_tag) + ".pyc"), "wb") as written:
            written.write(content)
    json.dump(failed, sys.stdout)


if __name__ == "__main__":
    main()
