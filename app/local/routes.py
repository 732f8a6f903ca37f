"""Route templates as the Azure Functions host (ASP.NET) reads them: `jobs/{id:int}/{action?}`, `files/{*path}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CONSTRAINTS = {
    "alpha": "[A-Za-z]+",
    "bool": "true|false",
    "guid": "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "int": r"-?\d+",
    "long": r"-?\d+",
}
_PARAMETER = re.compile(r"\{(?P<rest>\*{0,2})(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\?)?\}")


class RouteError(ValueError):
    """A route template that this host cannot serve."""


@dataclass(frozen=True, slots=True)
class Route:
    template: str
    pattern: re.Pattern[str]
    precedence: tuple[int, ...]

    @classmethod
    def parse(cls, template: str) -> Route:
        """Raises `RouteError`."""
        pattern, precedence = "", []
        for segment in [part for part in template.strip("/").split("/") if part]:
            parameter = _PARAMETER.fullmatch(segment)
            if parameter is None:
                if "{" in segment:
                    raise RouteError(f"route {template!r}: {segment!r} is not understood here")
                pattern += "/" + re.escape(segment)
                precedence.append(0)
                continue
            expression = _expression(template, parameter)
            group = f"(?P<{parameter['name']}>{expression})"
            if parameter["rest"]:
                pattern += f"(?:/{group})?"
                precedence.append(3)
            else:
                pattern += f"(?:/{group})?" if parameter["optional"] else f"/{group}"
                precedence.append(1 if parameter["constraint"] else 2)
        return cls(template, re.compile(pattern + "/?", re.IGNORECASE), tuple(precedence))

    def match(self, path: str) -> Mapping[str, str] | None:
        """The route's parameters, of a decoded `path` that begins with a slash; None where it is another route's."""
        found = self.pattern.fullmatch(path)
        return None if found is None else {name: value for name, value in found.groupdict().items() if value}


def _expression(template: str, parameter: re.Match[str]) -> str:
    if parameter["rest"]:
        return ".*"
    if parameter["constraint"] is None:
        return "[^/]+"
    try:
        return _CONSTRAINTS[parameter["constraint"]]
    except KeyError:
        raise RouteError(f"route {template!r}: constraint {parameter['constraint']!r} is not served here") from None
