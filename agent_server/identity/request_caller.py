"""Who sent a request, from the headers that the proxy of Databricks Apps sets.

https://docs.databricks.com/aws/en/dev-tools/databricks-apps/http-headers
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from pydantic import SecretStr

from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from agent_server.settings import AgentServerSettings, AppEnvironment
from app.common.identity import APP_IDENTITY, UserIdentity
from app.common.log_text import one_line

_USER_HEADER = "x-forwarded-user"
_NAME_HEADER = "x-forwarded-preferred-username"
_EMAIL_HEADER = "x-forwarded-email"
_PERSON_HEADER = "x-forwarded-access-token"

_MAX_ID_CHARACTERS = 200

_NOBODY = (
    "Databricks did not say who you are (the header X-Forwarded-User is missing): ask the app at its own address, with "
    "an OAuth token."
)
_NOT_SIGNED_IN = (
    "This app acts with your own permissions alone, and Databricks did not forward your access token: whoever runs the "
    "app gives it user_api_scopes, then stops and starts it; after that, sign in to the app again."
)


class SignInError(Exception):
    """The request names nobody, or nobody as whom it could be carried out. `str()` is a sentence for the caller."""


def caller_of(headers: Mapping[str, str], settings: AgentServerSettings, app: AppEnvironment) -> ServerCaller:
    """`headers` have lower-case names; a header that came twice has both values, with a comma between them. They count
    inside an app alone: elsewhere everybody is `LOCAL_OWNER`.

    Raises `SignInError`.
    """
    if not app.in_app:
        return ServerCaller(LOCAL_OWNER)
    owner = headers.get(_USER_HEADER, "").strip()
    # Two values: one may be the client's own. No person has the id that stands for everybody on a developer's machine.
    if owner in ("", LOCAL_OWNER) or len(owner) > _MAX_ID_CHARACTERS or not owner.isprintable() or "," in owner:
        raise SignInError(_NOBODY)
    token = headers.get(_PERSON_HEADER, "").strip()
    if settings.identity == "person" and not token:
        raise SignInError(_NOT_SIGNED_IN)
    acts_as_person = bool(token) and settings.identity != "app"
    return ServerCaller(
        owner,
        _shown(headers.get(_NAME_HEADER, "")),
        _shown(headers.get(_EMAIL_HEADER, "")),
        UserIdentity(owner, SecretStr(token)) if acts_as_person else APP_IDENTITY,
    )


def _shown(value: str) -> str:
    """Servers read headers as Latin-1, proxies write UTF-8."""
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    return one_line(value)[:_MAX_ID_CHARACTERS]
