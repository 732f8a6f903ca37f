"""Serves an unpacked package with nothing else to import from: `python -I -S packaged_app.py FOLDER [host's options]`.

The function host is the repository's, because a package has none. What is compiled on the way is said on stderr.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

HOST = Path(__file__).resolve().parents[2] / "app" / "local"


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    sys.path[:0] = [str(folder), str(folder / ".python_packages/lib/site-packages")]
    _report_compiling(folder)
    spec = importlib.util.spec_from_file_location(
        "app.local", HOST / "__init__.py", submodule_search_locations=[str(HOST)]
    )
    assert spec
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)

    from app.local.host import main as serve

    return serve(["--root", str(folder), *sys.argv[2:]])


def _report_compiling(folder: Path) -> None:
    compile_source = SourceFileLoader.source_to_code

    def report(loader: Any, data: Any, path: Any, **more: Any) -> Any:
        if Path(path).is_relative_to(folder):
            sys.stderr.write(f"compiled {path}\n")
        return compile_source(loader, data, path, **more)

    SourceFileLoader.source_to_code = report  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    sys.exit(main())
