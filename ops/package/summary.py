"""The size of a package, and its largest parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ops.package import SITE_PACKAGES
from ops.package.archive import files_of
from ops.package.build import Package

_LARGEST = 10


def summary(package: Package) -> Iterator[str]:
    parts: Counter[str] = Counter()
    files = 0
    for name, path in files_of(package.folder):
        files += 1
        parts[_part(name)] += path.stat().st_size
    zipped, unpacked = package.zip.stat().st_size, parts.total()
    yield f"{package.zip}: {_mb(zipped)}, unpacked {_mb(unpacked)} in {files} files"
    yield f"version {package.version}, build {package.build}, for Python {package.interpreter.version[:4]} on Linux"
    yield f"sha256 {package.sha256}"
    yield f"The {_LARGEST} largest parts, with their bytecode:"
    yield from (f"  {_mb(size):>8}  {part}" for part, size in parts.most_common(_LARGEST))
    if package.not_compiled:
        yield f"Not compiled, because it is not Python: {', '.join(package.not_compiled)}"


def _part(name: str) -> str:
    """The package that a file belongs to, as one would import it."""
    inside = name.removeprefix(f"{SITE_PACKAGES}/")
    if inside == name:
        return "this project"
    first, _, rest = inside.partition("/")
    if first.endswith(".dist-info"):
        return "metadata and licences"
    return first if rest and first != "__pycache__" else Path(inside).name.partition(".")[0]


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
