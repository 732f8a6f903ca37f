"""`python dev.py docs`: lists the rooms of app/ and agent_server/ in docs/architecture.md, and draws their imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = "docs/architecture.md"
_ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "agent_server")
# Which is never deployed and may import every other room, and pages.
_LEFT_OUT = frozenset({"local", "ui"})

Imports = Mapping[str, frozenset[str]]


def imports_between_rooms(root: Path, package: str = "app") -> Imports:
    """Each folder and module directly under `package`, and those of them that it imports."""
    import grimp  # noqa: PLC0415 - takes a second, which only this command pays

    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    graph = grimp.build_graph(package, cache_dir=None)
    rooms: dict[str, set[str]] = {room: set() for module in graph.modules if (room := _room(module))}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if _room(module) and _room(imported) and _room(module) != _room(imported):
                rooms[_room(module)].add(_room(imported))
    return {room: frozenset(others) for room, others in rooms.items()}


def _room(module: str) -> str:
    """Empty for what is in no room of the picture."""
    name = module.split(".")[1] if "." in module else ""
    return "" if name in _LEFT_OUT else name


def without_implied(imports: Imports) -> Imports:
    """Without arrows that a longer way says already. The imports have no cycle: the layers are checked."""

    def reached(room: str) -> frozenset[str]:
        return imports[room].union(*(reached(other) for other in imports[room]))

    return {
        room: frozenset(other for other in others if not any(other in reached(way) for way in others - {other}))
        for room, others in imports.items()
    }


def rooms(root: Path, imports: Imports, package: str = "app") -> str:
    """A table: what each room says of itself, from the top layer down."""
    depth = {room: _depth(room, imports) for room in imports}
    listed = sorted(imports, key=lambda room: (-depth[room], room))
    rows = [f"| `{package}/{_label(root / package, room)}` | {_purpose(root / package, room)} |" for room in listed]
    return "\n".join(["| room | what it is for |", "| --- | --- |", *rows])


def _depth(room: str, imports: Imports) -> int:
    return 1 + max((_depth(other, imports) for other in imports[room]), default=0)


def _purpose(folder: Path, room: str) -> str:
    """The first line of the docstring of a folder or module."""
    path = folder / room / "__init__.py"
    source = (path if path.is_file() else folder / f"{room}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def picture(imports: Imports, folder: Path) -> str:
    arrows = without_implied(imports)
    nodes = [f'  {room}["{_label(folder, room)}"]' for room in sorted(arrows)]
    lines = [f"  {room} --> {other}" for room in sorted(arrows) for other in sorted(arrows[room])]
    return "\n".join(["```mermaid", "flowchart TB", *nodes, *lines, "```"])


def _label(folder: Path, room: str) -> str:
    return f"{room}/" if (folder / room).is_dir() else f"{room}.py"


def architecture_page(root: Path) -> str:
    """The page with today's pictures in their places."""
    page = (root / PAGE).read_text(encoding="utf-8")
    for package in PACKAGES:
        begin, end = f"<!-- {package}: drawn from the imports by `dev.py docs` -->", f"<!-- {package}: end -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        imports = imports_between_rooms(root, package)
        drawn = f"{rooms(root, imports, package)}\n\n{picture(imports, root / package)}"
        page = f"{before}{begin}\n{drawn}\n{end}{after}"
    return page


if __name__ == "__main__":
    (_ROOT / PAGE).write_text(architecture_page(_ROOT), encoding="utf-8")
