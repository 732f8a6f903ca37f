"""An app that says "Your organisation" and links to example.com reaches nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.placeholders import main, placeholders

ROOT = Path(__file__).parents[2]
OWN = {
    "DEVELOPER_NAME": "Contoso Data",
    "DEVELOPER_WEBSITE_URL": "https://data.contoso.com",
    "DEVELOPER_PRIVACY_URL": "https://data.contoso.com/privacy",
    "DEVELOPER_TERMS_OF_USE_URL": "https://data.contoso.com/terms",
}


def test_what_came_with_the_repository_is_refused_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "local"], ROOT, {}) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" is ")[0] for line in said] == [f"env/.env.local: {name}" for name in OWN]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVELOPER_NAME", ""),
        ("DEVELOPER_NAME", "your organization "),
        ("DEVELOPER_WEBSITE_URL", "https://example.org"),
        ("DEVELOPER_WEBSITE_URL", "https://EXAMPLE.com:443/about"),
        ("DEVELOPER_PRIVACY_URL", "http://data.contoso.com/privacy"),
        ("DEVELOPER_PRIVACY_URL", "https://contoso.example/privacy"),
        ("DEVELOPER_PRIVACY_URL", "https://127.0.0.1/privacy"),
        ("DEVELOPER_TERMS_OF_USE_URL", ""),
    ],
)
def test_one_placeholder_is_enough(name: str, value: str) -> None:
    (sentence,) = placeholders(OWN | {name: value})
    assert sentence.startswith(f"{name} is {value!r}: put ")


def test_what_is_ones_own_is_taken_and_wins_over_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert placeholders(OWN | {"DEVELOPER_WEBSITE_URL": "https://example.com.contoso.com"}) == []
    assert main(["--env", "local"], ROOT, OWN) == 0
    assert capsys.readouterr().err == ""


def test_an_environment_that_is_not_there_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "nowhere"], ROOT, OWN) == 1
    assert "env/.env.nowhere is missing" in capsys.readouterr().err
