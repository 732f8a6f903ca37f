"""A person's token is kept in memory, as long as it can be used."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import SecretStr

from agent_server.identity import person_tokens
from agent_server.identity.person_tokens import PersonTokens
from agent_server.identity.server_caller import ServerCaller
from app.common.identity import UserIdentity
from tests.fakes.clock import Clock


def jwt(claims: object) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{middle}.c2lnbmF0dXJl"


def asks(owner: str, token: str) -> ServerCaller:
    return ServerCaller(owner, identity=UserIdentity(owner, SecretStr(token)))


def token_of(tokens: PersonTokens, owner: str) -> str | None:
    found = tokens.find(owner)
    return None if found is None else found.token.get_secret_value()


def test_each_person_has_the_token_of_their_newest_request() -> None:
    tokens = PersonTokens(clock=Clock(1_000_000.0))
    for caller in (asks("ann", "a1"), asks("bob", "b1"), asks("ann", "a2"), ServerCaller("ann"), ServerCaller("cid")):
        tokens.remember(caller)
    assert [token_of(tokens, owner) for owner in ("ann", "bob", "cid")] == ["a2", "b1", None]


@pytest.mark.parametrize(
    ("token", "lives_seconds"),
    [
        (jwt({"exp": 1_000_600}), 600),
        (jwt({"exp": 1_007_200.5}), 7200),
        (jwt({"exp": 999_000}), 0),
        # Those that say nothing that can be read.
        ("dapi0123", 3600),
        (jwt({}), 3600),
        (jwt({"exp": "soon"}), 3600),
        (jwt({"exp": True}), 3600),
        (jwt({"exp": float("inf")}), 3600),
        (jwt([1]), 3600),
        ("a.b.c", 3600),
        ("a.é.c", 3600),
    ],
)
def test_a_token_is_given_out_until_shortly_before_it_expires(token: str, lives_seconds: int) -> None:
    clock = Clock(1_000_000.0)
    tokens = PersonTokens(clock=clock)
    tokens.remember(asks("ann", token))
    assert (token_of(tokens, "ann") == token) == (lives_seconds > 0)
    clock.now += max(0, lives_seconds - 31)
    # The same token again does not live longer.
    tokens.remember(asks("ann", token))
    assert (token_of(tokens, "ann") == token) == (lives_seconds > 0)
    clock.now += 31
    assert tokens.find("ann") is None


def test_of_too_many_people_those_who_asked_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_tokens, "_MAX_PERSONS", 2)
    tokens = PersonTokens(clock=Clock(1_000_000.0))
    for owner in ("ann", "bob", "ann", "cid"):
        tokens.remember(asks(owner, f"token of {owner}"))
    assert [tokens.find(owner) is not None for owner in ("ann", "bob", "cid")] == [True, False, True]
