"""env/.env.ENV and infra/azure.parameters.json, read as the toolkit reads them. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PARAMETERS = "infra/azure.parameters.json"

_PLACEHOLDER = re.compile(r"\$\{\{ *([A-Za-z_]\w*) *\}\}")
_VARIABLE = re.compile(r"\s*(?:export\s+)?([\w.-]+)\s*=(.*)")


class ParametersError(Exception):
    """`str()` is what the person who deploys must know."""


def env_file(root: Path, env: str) -> Path:
    if not re.fullmatch(r"[\w-]+", env):
        raise ParametersError(f"{env!r} is not the name of an environment")
    return root / "env" / f".env.{env}"


def read_variables(root: Path, env: str, given: Mapping[str, str]) -> dict[str, str]:
    """env/.env.ENV, where it is empty its .user file; what is set and not empty in `given` wins, as in the toolkit."""
    path = env_file(root, env)
    if not path.is_file():
        raise ParametersError(f"env/{path.name} is missing")
    variables: dict[str, str] = {}
    for source in (path, path.with_name(f"{path.name}.user")):
        for line in read_environment(root, source).splitlines() if source.is_file() else []:
            if (assignment := _VARIABLE.fullmatch(line)) and not variables.get(assignment[1]):
                variables[assignment[1]] = _value(assignment[2])
    return variables | {name: value for name, value in given.items() if value}


def read_environment(root: Path, path: Path) -> str:
    """The text of an environment file, without the byte order mark that Windows' editors write."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        name = path.relative_to(root).as_posix()
        raise ParametersError(f"{name} is not UTF-8 text, but perhaps what PowerShell's > writes: save it as UTF-8")
    return text


def _value(text: str) -> str:
    text = text.strip()
    quoted = re.fullmatch(r"(['\"])(.*)\1(?:\s+#.*)?", text)
    return quoted[2] if quoted else text.partition("#")[0].rstrip()


def placeholders_in(text: str) -> list[str]:
    """The names of its `${{VARIABLE}}`s."""
    return _PLACEHOLDER.findall(text)


def fill(text: str, variables: Mapping[str, str]) -> str:
    """The JSON of `text`. Raises `ParametersError` naming the line of every variable that has no value."""
    missing = [
        f"{PARAMETERS}:{number}: {name} {_wrong(variables.get(name))}"
        for number, line in enumerate(text.splitlines(), 1)
        for name in placeholders_in(line)
        if _wrong(variables.get(name))
    ]
    if missing:
        raise ParametersError("\n".join(missing))
    return json.dumps(_filled(json.loads(text), variables), indent=2)


def _wrong(value: str | None) -> str:
    if not value:
        return "has no value"
    # The toolkit scrambles the secrets of a .user file in place, and only it can read them.
    return "was scrambled by the toolkit: set it as an environment variable" if value.startswith("crypto_") else ""


def _filled(value: Any, variables: Mapping[str, str]) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda placeholder: variables[placeholder[1]], value)
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, variables) for name, item in value.items()}
    return value


def read_outputs(answer: object) -> dict[str, str]:
    """Raises `ParametersError`. Resource Manager changes the case of names (`boT_ID`); upper case is what was meant."""
    if not isinstance(answer, dict) or not answer:
        raise ParametersError("the deployment has no outputs")
    outputs: dict[str, str] = {}
    for name, output in answer.items():
        value = output.get("value") if isinstance(output, dict) else None
        # A line break would begin another variable in the files that this is written to.
        if not re.fullmatch(r"\w+", name) or not isinstance(value, str) or not value.isprintable():
            raise ParametersError(f"the deployment's output {name!r} is not one line of text")
        outputs[name.upper()] = value
    return outputs


def with_outputs(text: str, outputs: Mapping[str, str]) -> str:
    """The environment file `text`, each output in the line that it has, or in a new one."""
    return "\n".join(_lines(text, dict(outputs))) + "\n"


def _lines(text: str, left: dict[str, str]) -> Iterator[str]:
    for line in text.splitlines():
        assignment = _VARIABLE.fullmatch(line)
        name = assignment[1] if assignment else ""
        yield f"{name}={left.pop(name)}" if name in left else line
    yield from (f"{name}={value}" for name, value in left.items())
