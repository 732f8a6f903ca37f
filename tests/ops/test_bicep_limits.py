"""Defaults of parameters that their own type and decorators would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.check.bicep.limits import check_defaults
from ops.check.bicep.source import read

PARAMETERS = {
    "@maxValue(540)\nparam a int = 541": "at most 540 are allowed",
    "@minValue(-5)\nparam a int = -6": "at least -5 are needed",
    "@minLength(3)\nparam a string = 'ab'": "at least 3 characters are needed",
    "@maxLength(3)\nparam a string = 'abcd'": "at most 3 characters are allowed",
    "@maxLength(1)\nparam a array = ['b', 'c']": "at most 1 items are allowed",
    "@allowed(['b', 'c'])\nparam a string = 'd'": "one of b, c is allowed",
    "@allowed([1, 2])\nparam a int = 3": "one of 1, 2 is allowed",
    "var b = 'abcd'\n@maxLength(3)\nparam a string = b": "at most 3 characters are allowed",
    "@maxLength(3)\nparam a string = '${b}cd'\nvar b = 'ab'": "at most 3 characters are allowed",
    "param a int = '1'": "it must be int",
    "@minValue(1)\n@maxValue(3)\nparam a int = 3": None,
    "@minLength(3)\n@maxLength(3)\nparam a string = 'it\\'s'": "at most 3 characters are allowed",
    "@allowed(['b', 'c'])\nparam a string = 'c'": None,
    "@allowed(['b', 'c'])\nparam a array = ['b']": None,
    "@allowed([true, false])\nparam a bool = true": None,
    "@maxLength(3)\nparam a string = resourceGroup().location": None,
    "@maxValue('3')\nparam a int = 4": None,
    "@minLength(3)\nparam a string": None,
    "param a object = {}": None,
}


@pytest.mark.parametrize("text", PARAMETERS)
def test_a_default_is_held_against_its_own_type_and_decorators(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.bicep").write_text(f"{text}\n", encoding="utf-8")
    file = read(tmp_path, "x.bicep")

    found = [str(problem) for problem in check_defaults({file.name: file})]

    line = file.of("param")["a"].node.start_point[0] + 1
    wrong = PARAMETERS[text]
    assert found == ([f"x.bicep:{line}: the default of a cannot be: {wrong}"] if wrong else [])
