"""Route templates match as they do in Azure Functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.local.routes import Route, RouteError


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("api/messages", "/api/messages", {}),
        ("api/messages", "/API/Messages/", {}),
        ("api/messages", "/api/messages/more", None),
        ("api/messages", "/api", None),
        ("", "/", {}),
        ("jobs/{id:int}", "/jobs/-7", {"id": "-7"}),
        ("jobs/{id:int}", "/jobs/seven", None),
        ("jobs/{id}/{action?}", "/jobs/7", {"id": "7"}),
        ("jobs/{id}/{action?}", "/jobs/7/repair", {"id": "7", "action": "repair"}),
        ("files/{*path}", "/files/a/b.txt", {"path": "a/b.txt"}),
        ("files/{*path}", "/files", {}),
        ("a.b", "/axb", None),
    ],
)
def test_a_template_matches_what_azure_functions_would_send_it(
    template: str, path: str, parameters: dict[str, str] | None
) -> None:
    assert Route.parse(template).match(path) == parameters


@given(st.text(min_size=1).filter(lambda text: "/" not in text))
def test_a_parameter_holds_its_segment_as_it_was_sent(segment: str) -> None:
    assert Route.parse("jobs/{id}").match(f"/jobs/{segment}") == {"id": segment}


@pytest.mark.parametrize("template", ["jobs/{id:regex(^a$)}", "jobs/{id:date}", "jobs/x{id}", "jobs/{}"])
def test_constraints_that_this_host_lacks_are_refused_by_name(template: str) -> None:
    with pytest.raises(RouteError, match="jobs"):
        Route.parse(template)


def test_the_more_exact_route_comes_first() -> None:
    templates = ["a/{*rest}", "a/{b}", "a/{b:int}", "a/b"]
    ordered = sorted((Route.parse(template) for template in templates), key=lambda route: route.precedence)
    assert [route.template for route in ordered] == list(reversed(templates))
