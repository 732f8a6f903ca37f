"""What a person can set in infra/azure.bicep has bounds, and every number of a module can be set there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.check.bicep.source import BicepFile, Declaration, entries, type_of
from ops.check.bicep.values import MAIN, module_path
from ops.check.problem import Problem

_BOUNDS = {"int": ("minValue", "maxValue"), "string": ("maxLength",)}
# Azure's own name of a region. Of a secret only its service knows the form.
_UNBOUNDED = {"location"}


def check_bounds(files: Mapping[str, BicepFile]) -> list[Problem]:
    main = files[MAIN]
    return [*_unbounded(main), *(problem for file in files.values() for problem in _fixed(file, files))]


def _unbounded(main: BicepFile) -> Iterator[Problem]:
    for name, param in main.of("param").items():
        if name in _UNBOUNDED or {"secure", "allowed"} & set(param.decorators):
            continue
        missing = [f"@{bound}" for bound in _BOUNDS.get(type_of(param), ()) if bound not in param.decorators]
        if missing:
            yield main.problem(f"the parameter {name} has no {' and no '.join(missing)}", param.node)


def _fixed(file: BicepFile, files: Mapping[str, BicepFile]) -> Iterator[Problem]:
    for module in file.of("module").values():
        inside = files.get(module_path(file, module) or "")
        for name, param in inside.of("param").items() if inside is not None else ():
            if inside is not None and type_of(param) == "int" and name not in _given(module):
                sentence = f"{file.name} does not give the number {name}, so nobody can set it"
                yield inside.problem(sentence, param.node)


def _given(module: Declaration) -> set[str]:
    params = entries(module.body).get("params") if module.body is not None else None
    return set(entries(params[1])) if params else set()
