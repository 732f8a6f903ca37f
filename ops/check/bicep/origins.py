"""Where a value comes from, through parameters, variables and module outputs, to what it is in the end."""

from __future__ import annotations

from tree_sitter import Node

from ops.check.bicep.source import arguments, parts, said
from ops.check.bicep.values import Placed, Scope


def origin(place: Placed) -> str:
    """As Bicep would write it if all were one file, each resource called by its type: `vaults.id`, `'python'`.

    A parameter of the deployment is its name; what a condition leaves open is `one or other`.
    """
    return " or ".join(dict.fromkeys(_written(branch.scope, branch.node) for branch in place.branches()))


def _written(scope: Scope, node: Node) -> str:
    match node.type:
        case "string":
            return f"'{''.join(_part(scope, part) for part in node.named_children)}'"
        case "identifier" if (
            node.parent is None or node.parent.type != "object_property" or parts(node.parent)[0] != node
        ):
            resource = scope.file.of("resource").get(said(node))
            return resource.resource_type.rpartition("/")[2] if resource is not None else said(node)
        case "subscript_expression":
            return origin(Placed(scope, parts(node)[0]))
        case "member_expression":
            return _member(scope, node)
        case "array":
            return f"[{', '.join(origin(Placed(scope, item)) for item in parts(node))}]"
        case "object":
            pairs = [parts(entry) for entry in node.named_children if entry.type == "object_property"]
            written = (f"{_written(scope, key)}: {origin(Placed(scope, value))}" for key, value in pairs)
            return f"{{{', '.join(written)}}}"
        case "call_expression":
            given = ", ".join(origin(Placed(scope, argument)) for argument in arguments(node))
            function = node.child_by_field_name("function")
            return f"{said(function) if function is not None else ''}({given})"
    return " ".join(said(node).split())


def _part(scope: Scope, part: Node) -> str:
    if part.type != "interpolation" or not parts(part):
        return said(part)
    inside = origin(Placed(scope, parts(part)[0]))
    return inside[1:-1] if inside.startswith("'") else f"${{{inside}}}"


def _member(scope: Scope, node: Node) -> str:
    around, name = parts(node)[0], said(parts(node)[-1])
    if around.type == "member_expression" and said(parts(around)[-1]) == "outputs":
        module = scope.modules.get(said(parts(around)[0]))
        output = module.file.of("output").get(name) if module is not None else None
        if module is not None and output is not None and output.value is not None:
            return origin(Placed(module, output.value))
    return f"{origin(Placed(scope, around))}.{name}"
