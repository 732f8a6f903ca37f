"""The reader of Bicep behind the checks: what it makes of each construct, and that no slip of a person stops it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.check.bicep import check_bicep
from ops.check.bicep.source import BicepFile, read
from ops.check.bicep.symbols import check_symbols
from ops.check.bicep.syntax import check_syntax
from ops.check.bicep.values import UNKNOWN, Placed, Scope, members
from tests.fakes.pristine import delivered_parameters
from tests.ops.test_bicep import TODAY

ROOT = Path(__file__).resolve().parents[2]

TRICKY = """
targetScope = 'resourceGroup'
@description('one')
@allowed(['a', 'b'])
param one string = 'a'
param many string[] = ['x', 'y']
@secure()
param hidden string = ''
var isA = one == 'a' && !empty(hidden)
var picked = isA ? 'yes' : one == 'b' ? 'no' : 'neither' // a nested choice
var plain = '''
not ${interpolated}, 'quoted' // no comment
'''
var built = [for (name, i) in many: {
  '${name}-${i}': 'it\\'s ${toUpper(name)}'
}]
var mapped = toObject(many, name => name, name => { length: length(name) })
var sums = reduce([1, 2], 0, (sum, next) => sum + next)
resource there 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: picked
}
resource sometimes 'Microsoft.Storage/storageAccounts@2025-01-01' = if (isA) {
  name: '${picked}${built[0].x}'
  scope: there
  properties: {
    all: [for name in many: {
      name: name
      text: plain
      more: mapped[name].?length ?? sums
    }]
  }
}
resource each 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' = [for name in many: if (isA) {
  parent: sometimes
  name: name
}]
output last string = isA ? each[0].name : ''
"""


def bicep(folder: Path, text: str) -> BicepFile:
    (folder / "main.bicep").write_text(text, encoding="utf-8")
    return read(folder, "main.bicep")


def variable(folder: Path, text: str, name: str = "it", assumed: dict[str, str] | None = None) -> Placed:
    file = bicep(folder, text)
    value = file.of("var")[name].value
    assert value is not None
    return Placed(Scope(file, {}, assumed or {}), value)


def test_loops_conditions_lambdas_and_both_kinds_of_string_are_read(tmp_path: Path) -> None:
    file = bicep(tmp_path, TRICKY)

    assert check_syntax(file) == []
    assert check_symbols(tmp_path, {file.name: file}) == []
    assert [name for name, declared in file.of("resource").items() if declared.is_conditional] == ["sometimes", "each"]
    assert file.of("resource")["there"].is_existing
    assert "secure" in file.of("param")["hidden"].decorators
    assert "secure" not in file.of("param")["many"].decorators


@pytest.mark.parametrize(
    "outside",
    ["output last string = name", "var further = i", "var further = next", "var further = interpolated"],
)
def test_the_names_of_loops_and_lambdas_end_with_them(tmp_path: Path, outside: str) -> None:
    file = bicep(tmp_path, f"{TRICKY}\n{outside}\n")

    assert any("is not declared" in problem.sentence for problem in check_symbols(tmp_path, {file.name: file}))


def test_a_spread_is_refused_though_the_compiler_takes_it(tmp_path: Path) -> None:
    # The grammar of tree-sitter has none: union() says the same, and can be checked.
    file = bicep(tmp_path, "var one = { a: 1 }\nvar two = {\n  ...one\n  b: 2\n}\n")

    assert [problem.line for problem in check_syntax(file)] == [3]


def test_a_union_has_the_keys_of_every_branch_that_may_be_taken(tmp_path: Path) -> None:
    text = "var base = { a: 'x' }\nvar it = union(base, plan == 'flex' ? { b: 'y' } : { c: 'z' }, { a: 'w' })\n"

    undecided, flex = variable(tmp_path, text), variable(tmp_path, text, assumed={"plan": "flex"})

    assert sorted(members(undecided)) == ["a", "b", "c"]
    assert sorted(members(flex)) == ["a", "b"]
    assert [value.value for _, value in members(flex)["a"]] == ["x", "w"]


def test_what_a_string_will_hold_is_left_open_where_it_is_not_known(tmp_path: Path) -> None:
    text = "param host string\nvar path = 'api'\nvar it = 'https://${host}/${path}/it\\'s'\n"

    assert variable(tmp_path, text).text == "https://{}/api/it's"
    assert variable(tmp_path, text).value is UNKNOWN


Condition = tuple[str, bool]
"""An expression and what it comes to."""


def joined(operator: str, left: Condition, right: Condition) -> Condition:
    outcome = {
        "&&": left[1] and right[1],
        "||": left[1] or right[1],
        "==": left[1] == right[1],
        "!=": left[1] != right[1],
    }
    return f"({left[0]}) {operator} ({right[0]})", outcome[operator]


def chosen(condition: Condition, yes: Condition, no: Condition) -> Condition:
    return f"({condition[0]}) ? ({yes[0]}) : ({no[0]})", yes[1] if condition[1] else no[1]


conditions: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from([("true", True), ("false", False), ("'a' == 'a'", True), ("'a' != 'a'", False)]),
    lambda inner: st.one_of(
        inner.map(lambda one: (f"!({one[0]})", not one[1])),
        st.builds(joined, st.sampled_from(["&&", "||", "==", "!="]), inner, inner),
        st.builds(chosen, inner, inner, inner),
    ),
    max_leaves=8,
)


@given(conditions)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_conditions_come_to_what_bicep_makes_of_them(tmp_path: Path, condition: Condition) -> None:
    expression, outcome = condition

    assert variable(tmp_path, f"var it = {expression}\n").value is outcome


@pytest.fixture(scope="module")
def infra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("slips")
    shutil.copytree(ROOT / "infra", root / "infra")
    shutil.copytree(ROOT / "app" / "telemetry", root / "app" / "telemetry")
    for name in ("function_app.py", "host.json"):
        shutil.copy(ROOT / name, root / name)
    delivered_parameters(root)
    return root


@given(st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_slip_stops_the_check(infra: Path, data: st.DataObject) -> None:
    files = sorted(path for path in (infra / "infra").rglob("*") if path.suffix in {".bicep", ".json"})
    path = data.draw(st.sampled_from(files))
    text = path.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 60)))
    typed = data.draw(st.sampled_from(["", "'", "}", "x", "\n", ": [", "null", "${", "param a string\n"]))
    path.write_text(text[:start] + typed + text[end:], encoding="utf-8")

    try:
        found = check_bicep(infra, TODAY)
    finally:
        path.write_text(text, encoding="utf-8")

    assert all(problem.line >= 1 and problem.sentence for problem in found)
