"""`env/.env.<name>` and the `${{VARIABLE}}`s that the toolkit fills in from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.check.document import Document, UnreadableDocumentError
from ops.check.problem import Problem

# As in @microsoft/teamsfx-core, component/utils/common.js.
_PLACEHOLDER = re.compile(r"\$\{\{ *([a-zA-Z_][a-zA-Z0-9_]*) *\}\}")
_LOOKS_LIKE_A_PLACEHOLDER = re.compile(r"\$?(?<!\{)\{+[^{}\"']*\}+")
_OFFERED_SECRET = re.compile(r"\s*#\s*(SECRET_\w+)\s*=\s*")
_ASSIGNMENT = re.compile(r"""\s*(?:export\s+)?([\w.-]+)\s*=\s*("(?:[^"]*)"|'(?:[^']*)'|[^#]*)(?:#.*)?""")


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """`name` is the file's path below the repository."""

    name: str
    variables: dict[str, Variable]
    problems: tuple[Problem, ...]
    offered: frozenset[str] = frozenset()
    """Secrets that a sample lists behind a `#`, for whoever needs them."""

    @classmethod
    def read(cls, root: Path, name: str) -> EnvironmentFile:
        """Raises `UnreadableDocumentError`."""
        variables: dict[str, Variable] = {}
        problems = []
        text = _text(root, name)
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            assignment = _ASSIGNMENT.fullmatch(line)
            if assignment is None:
                problems.append(Problem(name, number, f"not a line of the form NAME=value: {line.strip()[:60]!r}"))
            elif assignment[1] in variables:
                first = variables[assignment[1]].line
                problems.append(Problem(name, number, f"{assignment[1]} is already in line {first}"))
            else:
                variables[assignment[1]] = Variable(assignment[1], _unquoted(assignment[2]), number)
        found = map(_OFFERED_SECRET.fullmatch, text.splitlines() if name.endswith(".sample") else ())
        return cls(name, variables, tuple(problems), frozenset(offer[1] for offer in found if offer))

    def line(self, variable: str) -> int:
        return self.variables[variable].line if variable in self.variables else 1

    def value(self, variable: str) -> str:
        return self.variables[variable].value if variable in self.variables else ""

    def problem(self, sentence: str, variable: str = "") -> Problem:
        return Problem(self.name, self.line(variable), sentence)

    def fill(self, text: str) -> str:
        """What has no value here is filled with one of the kind that its name promises."""
        return _PLACEHOLDER.sub(lambda found: self.value(found[1]) or _example(found[1]), text)


def environment_files(root: Path, file: str) -> list[str]:
    """The environments that `file`, one of m365agents*.yml, is for. m365agents.yml is for dev and for every new one."""
    own = file.removeprefix("m365agents").removesuffix("yml").strip(".")
    if own:
        return [f"env/.env.{own}"]
    found = {f"env/{path.name}" for path in (root / "env").glob(".env.*") if path.name.count(".") == 2}
    return sorted((found | {"env/.env.dev"}) - {"env/.env.local", "env/.env.playground"})


def _unquoted(value: str) -> str:
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _text(root: Path, name: str) -> str:
    """The toolkit, too, reads over a byte order mark."""
    try:
        text = (root / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UnreadableDocumentError(Problem(name, 1, "this file is missing")) from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        sentence = "this file is not UTF-8 text, but perhaps what PowerShell's > writes: save it as UTF-8"
        raise UnreadableDocumentError(Problem(name, 1, sentence))
    return text


def placeholders(text: str) -> list[str]:
    return _PLACEHOLDER.findall(text)


def _example(name: str) -> str:
    if name == "APP_NAME_SUFFIX":
        return ""
    if name.endswith("_ID"):
        return "00000000-0000-4000-8000-000000000000"
    return "https://example.com" if name.endswith("_URL") else "example.com"


@dataclass(frozen=True, slots=True)
class Used:
    """A placeholder, where it is written."""

    variable: str
    file: str
    line: int


def used_in_lines(name: str, text: str) -> Iterator[Used]:
    for number, line in enumerate(text.splitlines(), 1):
        for variable in placeholders(line):
            yield Used(variable, name, number)


def malformed_placeholders(document: Document) -> list[Problem]:
    """Those that the toolkit would leave as they are, such as `${BOT_ID}`."""
    return [
        Problem(document.name, number, f"{found!r} is not of the form ${{{{NAME}}}}, so nothing is put in its place")
        for number, line in enumerate(document.text.splitlines(), 1)
        if not line.lstrip().startswith("#")
        for found in _LOOKS_LIKE_A_PLACEHOLDER.findall(line)
        if found.startswith(("${", "{{")) and not _PLACEHOLDER.fullmatch(found)
    ]
