"""Who a caller is, and as whom Databricks is asked for them."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import SecretStr

from agent_server.identity.request_caller import SignInError, caller_of
from agent_server.identity.server_caller import ServerCaller
from agent_server.settings import AgentServerSettings, AppEnvironment, load_server_settings
from app.common.identity import APP_IDENTITY, UserIdentity

IN_APP = AppEnvironment("my-agent")
ANN = {
    "x-forwarded-user": "4711@99",
    "x-forwarded-preferred-username": "Ann",
    "x-forwarded-email": "ann@example.com",
}
TOKEN = {"x-forwarded-access-token": "secret-token"}


def settings(identity: Literal["auto", "app", "person"]) -> AgentServerSettings:
    return AgentServerSettings.model_validate({"AGENT_SERVER_IDENTITY": identity})


def test_outside_of_an_app_no_header_says_who_somebody_is() -> None:
    for identity in ("auto", "app", "person"):
        assert caller_of(ANN | TOKEN, settings(identity), AppEnvironment()) == ServerCaller("local")


@pytest.mark.parametrize(
    ("identity", "headers", "acts_as_person"),
    [
        ("auto", ANN | TOKEN, True),
        ("auto", ANN, False),
        ("app", ANN | TOKEN, False),
        ("app", ANN, False),
        ("person", ANN | TOKEN, True),
    ],
)
def test_the_setting_and_the_token_decide_as_whom_databricks_is_asked(
    identity: Literal["auto", "app", "person"], headers: dict[str, str], acts_as_person: bool
) -> None:
    caller = caller_of(headers, settings(identity), IN_APP)
    assert (caller.owner, caller.name, caller.email) == ("4711@99", "Ann", "ann@example.com")
    if acts_as_person:
        assert isinstance(caller.identity, UserIdentity)
        assert caller.identity.token == SecretStr("secret-token")
        assert caller.identity.user_id == "4711@99"
    else:
        assert caller.identity == APP_IDENTITY


def test_an_app_for_people_alone_refuses_who_comes_without_a_token_and_names_the_missing_step() -> None:
    for headers in (ANN, ANN | {"x-forwarded-access-token": "  "}):
        with pytest.raises(SignInError, match=r"user_api_scopes.*stops and starts.*sign in to the app again"):
            caller_of(headers, settings("person"), IN_APP)


@pytest.mark.parametrize("user", [None, "", "   ", "a" * 201, "a\u200b b\nc", "4711@99, 4712@99", "local"])
def test_inside_an_app_nobody_is_answered_without_a_name_from_databricks(user: str | None) -> None:
    # Neither an e-mail address nor a user name stands in for it.
    headers = {name: value for name, value in ANN.items() if name != "x-forwarded-user"}
    headers |= {} if user is None else {"x-forwarded-user": user}
    with pytest.raises(SignInError, match="X-Forwarded-User"):
        caller_of(headers | TOKEN, settings("auto"), IN_APP)


def test_a_name_is_read_as_the_proxy_wrote_it_and_shown_on_one_line() -> None:
    headers = ANN | {
        "x-forwarded-preferred-username": "José\u0301 Ünal".encode().decode("latin-1"),
        "x-forwarded-email": "a\x1b[31m@example.com",
    }
    caller = caller_of(headers, settings("auto"), IN_APP)
    assert caller.name == "José\u0301 Ünal"
    assert caller.email == "a [31m@example.com"


def test_two_people_with_one_address_are_two() -> None:
    bob = ANN | {"x-forwarded-user": "4712@99"}
    ann, other = (caller_of(each, settings("auto"), IN_APP) for each in (ANN, bob))
    assert ann.tenant != other.tenant


def test_the_token_is_in_no_text_about_the_caller() -> None:
    assert "secret-token" not in repr(caller_of(ANN | TOKEN, settings("person"), IN_APP))


def test_the_person_is_asked_for_where_a_token_comes_unless_the_settings_say_otherwise() -> None:
    assert load_server_settings({}).server.identity == "auto"
