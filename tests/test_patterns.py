"""Every regular expression of the project is linear: no text that somebody sends can hold a worker up with it."""

from __future__ import annotations

import ast
import gc
import importlib
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hostile import hostile_texts

ROOT = Path(__file__).parents[1]
LENGTH = 100_000
MOST_SECONDS = 0.050
_GIVEN_UP_SECONDS = 2 * MOST_SECONDS
METHODS = ("search", "match", "fullmatch", "findall", "finditer", "sub", "split", "subn")


KNOWN_WHEN_IT_RUNS = {
    "app/bot/inbound/message_text.py": "words that are escaped: nothing repeats",
    "app/files/column_types.py": "one number or date, each part with a limit",
    "app/local/genie_questions.py": "our own names of months, one after the other",
    "app/local/processes.py": "a line that a child of ours prints",
    "app/local/routes.py": "our own routes: what repeats ends at a slash",
    "app/local/scripted_answers.py": "our own words for kinds of charts, one after the other",
    "ops/local_page.py": "our own name of a page, and one address",
}


class TakesTooLongError(Exception):
    pass


@dataclass(frozen=True)
class Found:
    """`where` is the file and the line; `methods` are those it is used with."""

    where: str
    pattern: re.Pattern[str]
    methods: frozenset[str]


def files() -> list[Path]:
    return [
        ROOT / "function_app.py",
        ROOT / "dev.py",
        *sorted((ROOT / "app").rglob("*.py")),
        *sorted((ROOT / "ops").rglob("*.py")),
    ]


@cache
def parsed() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in files()}


@cache
def methods_by_file() -> dict[Path, dict[str, set[str]]]:
    """With which methods what bears a name is used there."""
    used: dict[Path, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for file, tree in parsed().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                used[file][getattr(node.value, "attr", getattr(node.value, "id", ""))].add(node.attr)
    return used


def methods_of(name: str, file: Path) -> set[str]:
    """In its own file, or in those that import it; `search` and `fullmatch` where nobody uses it by name."""
    others = (names.get(name, set()) for names in methods_by_file().values())
    return methods_by_file()[file].get(name) or set().union(*others) or {"search", "fullmatch"}


def expressions() -> Iterator[tuple[Path, ast.Call, str]]:
    """Every call of `re`, with the name that its result is given."""
    for file, tree in parsed().items():
        names = {
            id(node.value): target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "re", f"{file}: a pattern made by an imported function is not found here"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = node.func
                if (
                    isinstance(called.value, ast.Name)
                    and called.value.id == "re"
                    and called.attr in (*METHODS, "compile")
                ):
                    yield file, node, names.get(id(node), "")


def patterns() -> tuple[list[Found], set[str]]:
    """Every pattern, and the files in which one is made of what is known only when it runs."""
    found, unknown = [], set()
    for file, call, name in expressions():
        where = f"{file.relative_to(ROOT)}:{call.lineno}"
        assert isinstance(call.func, ast.Attribute)
        methods = methods_of(name, file) if call.func.attr == "compile" else {call.func.attr}
        values = [evaluated(call, names) for names in namespaces(file, call)]
        if not all(values):
            unknown.add(where.partition(":")[0])
        found += [Found(where, re.compile(*value), frozenset(methods)) for value in values if value]
    return found, unknown


def namespaces(file: Path, call: ast.Call) -> list[dict[str, Any]]:
    """The module's own, once for each item of the loops over its constants that `call` stands in."""
    module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    names = [dict(vars(module))]
    for loop in ast.walk(parsed()[file]):
        if isinstance(loop, ast.For) and any(node is call for node in ast.walk(loop)):
            with suppress(NameError):
                names = [bound(loop.target, item, outer) for outer in names for item in value_of(loop.iter, outer)]
    return names


def bound(target: ast.expr, item: object, names: dict[str, Any]) -> dict[str, Any]:
    assignment = ast.Assign([target], ast.Name("item", ast.Load()))
    names = {**names, "item": item}
    exec(compile(ast.fix_missing_locations(ast.Module([assignment], [])), "loop", "exec"), names)
    return names


def evaluated(call: ast.Call, names: dict[str, Any]) -> tuple[Any, int] | None:
    flags = [keyword.value for keyword in call.keywords if keyword.arg == "flags"]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "compile":
        flags += call.args[1:]
    try:
        pattern = value_of(call.args[0], names)
        # Of bytes: takes as long as the same one of text.
        pattern = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
        return pattern, sum(int(value_of(flag, names)) for flag in flags)
    except NameError:
        return None


def value_of(expression: ast.expr, names: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(expression), "expression", "eval"), names)


def seconds(work: Callable[[], object]) -> float:
    """Of this process, at most about `_GIVEN_UP_SECONDS`: an expression looks at signals while it works."""
    gc.disable()
    signal.setitimer(signal.ITIMER_VIRTUAL, _GIVEN_UP_SECONDS)
    before = time.process_time()
    try:
        work()
    except TakesTooLongError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()
    return time.process_time() - before


def raise_takes_too_long(*_: object) -> None:
    raise TakesTooLongError


def applied(pattern: re.Pattern[str], method: str, text: str) -> Callable[[], object]:
    match method:
        case "sub" | "subn":
            return lambda: pattern.sub("", text)
        case "finditer" | "findall":
            return lambda: pattern.findall(text)
        case _:
            return lambda: getattr(pattern, method)(text)


def slow_texts(found: Found) -> Iterator[str]:
    for text in hostile_texts(found.pattern, LENGTH):
        for method in sorted(found.methods):
            work = applied(found.pattern, method, text)
            if all(seconds(work) > MOST_SECONDS for _ in range(4)):
                yield f"{found.where}: {method} in {text[:30]!r}…{text[-3:]!r}"
                return


@pytest.fixture
def with_a_limit() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, raise_takes_too_long)
    yield
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.usefixtures("with_a_limit")
def test_every_pattern_of_the_project_takes_little_time_for_hostile_text() -> None:
    found, unknown = patterns()
    assert unknown == set(KNOWN_WHEN_IT_RUNS), "no pattern may be made of what this test cannot see"
    assert len(found) > 100
    assert [text for each in found for text in slow_texts(each)] == []


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        # Each has been in this project.
        (r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$", "match"),
        (r"(?i)maximum context|exceed\w* (?:the )?(?:max\w*|limit of)[^.]{0,60}tokens", "search"),
        (r"(?s)<(script|style).*?</\1>|<[^>]+>", "sub"),
        (r"\$\{\{\s*(.*?)\s*\}\}", "findall"),
        (r"[\[(]\s*(?P<low>\d+)?\s*,\s*[\])]", "fullmatch"),
        (r"\S*\$\{\{.*?\}\}\S*", "sub"),
        (r"'@Microsoft\.KeyVault\(VaultName=([^;]+);SecretName=([\w-]+)\)'", "findall"),
    ],
)
@pytest.mark.usefixtures("with_a_limit")
def test_a_pattern_that_is_not_linear_is_found(pattern: str, method: str) -> None:
    assert list(slow_texts(Found("here", re.compile(pattern), frozenset({method}))))
