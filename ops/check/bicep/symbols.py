"""Every name that is used exists, and every name that exists is used; modules are given what they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from tree_sitter import Node

from ops.check.bicep.functions import DECORATORS, FUNCTIONS
from ops.check.bicep.source import BicepFile, Declaration, entries, function_name, inner, parts, said, walk
from ops.check.bicep.values import module_path
from ops.check.problem import Problem

_NAMESPACES = {"az", "sys"}
_TYPES = ("string", "int", "bool", "object", "array")


def check_symbols(root: Path, files: Mapping[str, BicepFile]) -> list[Problem]:
    return [problem for file in files.values() for problem in _of_file(root, file, files)]


def _of_file(root: Path, file: BicepFile, files: Mapping[str, BicepFile]) -> Iterator[Problem]:
    yield from _declared_twice(file)
    known = {declared.name for declared in file.declarations if declared.kind != "output"}
    used: set[str] = set()
    for node in walk(file.root):
        if node.type == "identifier" and _is_reference(node):
            name = said(node)
            used.add(name)
            if name not in known and name not in _NAMESPACES and name not in _local_names(node):
                yield file.problem(f"{name} is not declared", node)
        elif node.type == "call_expression":
            yield from _unknown_function(file, node)
        elif node.type == "identifier" and node.parent is not None and node.parent.type == "type":
            yield from _unknown_type(file, node)
    for declared in file.of("param", "var").values():
        if declared.name not in used:
            yield file.problem(f"{declared.name} is never used", declared.node)
    yield from _circles(file)
    yield from _looped(file)
    yield from _loaded_files(root, file)
    for module in file.of("module").values():
        yield from _of_module(root, file, module, files)
    yield from _outputs(file, files)


def _unknown_function(file: BicepFile, call: Node) -> Iterator[Problem]:
    name = function_name(call)
    if call.parent is not None and call.parent.type == "decorator":
        if name not in DECORATORS:
            yield file.problem(f"Bicep has no decorator @{name}", call)
    elif name not in FUNCTIONS and name not in file.of("func"):
        yield file.problem(f"Bicep has no function {name}", call)


def _unknown_type(file: BicepFile, node: Node) -> Iterator[Problem]:
    """The grammar has Bicep's own types as something else than names."""
    own = file.of("type")
    if said(node) not in own:
        close = get_close_matches(said(node), (*_TYPES, *own), n=1)
        yield file.problem(f"Bicep has no type {said(node)}" + (f"; did you mean {close[0]}?" if close else ""), node)


def _declared_twice(file: BicepFile) -> Iterator[Problem]:
    seen: set[tuple[bool, str]] = set()
    for declared in file.declarations:
        key = (declared.kind == "output", declared.name)
        if key in seen:
            yield file.problem(f"{declared.name} is declared twice", declared.node)
        seen.add(key)


def _is_reference(node: Node) -> bool:
    """An identifier that stands for a value, not one that names something new."""
    around = node.parent
    if around is None or around.type in {"object_property", "property_identifier"}:
        return around is not None and around.type == "object_property" and parts(around)[0] != node
    if around.type.endswith("_declaration"):
        value = next((child for child in reversed(around.children) if child.is_named), None)
        return value == node and any(child.type == "=" for child in around.children)
    if around.type == "call_expression":
        return around.child_by_field_name("function") != node
    if around.type == "for_statement":
        return around.child_by_field_name("initializer") != node
    if around.type == "lambda_expression":
        return parts(around)[0] != node
    if around.type == "parenthesized_expression" and around.parent is not None:
        return around.parent.type != "lambda_expression" or parts(around.parent)[0] != around
    return around.type not in {"parameter", "user_defined_function", "type", "import_functionality"}


def _local_names(node: Node) -> set[str]:
    """Of the loops and lambdas around it."""
    found: set[str] = set()
    around: Node | None = node.parent
    while around is not None:
        if around.type == "for_statement":
            first = parts(around)[0]
            found |= {said(name) for name in (parts(first) if first.type == "for_loop_parameters" else [first])}
        elif around.type == "lambda_expression":
            found |= {said(name) for name in walk(parts(around)[0]) if name.type == "identifier"}
        around = around.parent
    return found


def _circles(file: BicepFile) -> Iterator[Problem]:
    made = file.of("var", "resource", "module")
    leads = {
        name: {said(node) for node in walk(declared.node) if node.type == "identifier" and _is_reference(node)}
        for name, declared in made.items()
    }
    for name, declared in made.items():
        reached: set[str] = set()
        waiting = set(leads[name])
        while waiting:
            reached |= waiting
            waiting = {further for next_one in waiting for further in leads.get(next_one, ())} - reached
        if name in reached:
            yield file.problem(f"{name} is made of itself", declared.node)


def _looped(file: BicepFile) -> Iterator[Problem]:
    """A loop over objects that are written out asks each for what it has."""
    for loop in (node for node in walk(file.root) if node.type == "for_statement"):
        first, over, *_ = parts(loop)
        variable = file.of("var").get(said(over))
        if first.type != "identifier" or variable is None or variable.value is None or variable.value.type != "array":
            continue
        asked = {said(parts(node)[-1]) for node in walk(loop) if _is_member_of(node, said(first))}
        for item in parts(variable.value):
            if item.type == "object" and (missing := sorted(asked - set(entries(item)))):
                yield file.problem(f"{said(first)} has no {', '.join(missing)} here", item)


def _is_member_of(node: Node, name: str) -> bool:
    around = node.child_by_field_name("object") if node.type == "member_expression" else None
    return around is not None and said(around) == name


def _loaded_files(root: Path, file: BicepFile) -> Iterator[Problem]:
    for node in walk(file.root):
        if node.type == "call_expression" and function_name(node).startswith("load"):
            path = next((inner(child) for child in walk(node) if child.type == "string"), "")
            if not (root / file.name).parent.joinpath(path).is_file():
                yield file.problem(f"there is no file {path}", node)


def _of_module(root: Path, file: BicepFile, module: Declaration, files: Mapping[str, BicepFile]) -> Iterator[Problem]:
    path = module_path(file, module)
    if path is None:
        yield file.problem(f"{module.name} comes from a registry; modules here are files", module.node)
        return
    other = files.get(path)
    if other is None:
        yield file.problem(f"the module {module.source} does not exist", module.node)
        return
    wanted = other.of("param")
    params = entries(module.body).get("params") if module.body is not None else None
    given = entries(params[1]) if params else {}
    for name, (key, _) in given.items():
        if name not in wanted:
            yield file.problem(f"{module.source} has no parameter {name}", key)
    missing = [name for name, param in wanted.items() if param.value is None and name not in given]
    if missing:
        yield file.problem(f"{module.source} is not given {', '.join(missing)}", params[0] if params else module.node)


def _outputs(file: BicepFile, files: Mapping[str, BicepFile]) -> Iterator[Problem]:
    modules = file.of("module")
    for node in walk(file.root):
        module = modules.get(_module_of_outputs(node))
        if module is None:
            continue
        other = files.get(module_path(file, module) or "")
        name = said(parts(node)[-1])
        if other is not None and name not in other.of("output"):
            yield file.problem(f"{module.source} has no output {name}", node)
        if module.is_conditional:
            yield file.problem(f"{module.name} is not always deployed, and then has no output {name}", node)


def _module_of_outputs(node: Node) -> str:
    """`m` of `m.outputs.x` and of `m[0].outputs.x`."""
    outputs = node.child_by_field_name("object") if node.type == "member_expression" else None
    if outputs is None or outputs.type != "member_expression" or said(parts(outputs)[-1]) != "outputs":
        return ""
    module = outputs.child_by_field_name("object")
    while module is not None and module.type == "subscript_expression":
        module = module.child_by_field_name("object")
    return said(module) if module is not None else ""
