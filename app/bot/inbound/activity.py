"""Parses an activity, and reads its fields. Any bytes give an activity of the right types, or `BadActivityError`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NoReturn

import botbuilder.schema as schema
from botbuilder.schema import Activity, ChannelAccount, ConversationAccount

from app.common.caller import Caller
from app.common.text import replace_lone_surrogates

MAX_ACTIVITY_BYTES = 256 * 1024
_MAX_LEVELS = 64
_MAX_ITEMS = 1000
# The longest language tag: https://www.rfc-editor.org/rfc/rfc5646#section-4.4.1
_MAX_LOCALE_CHARACTERS = 35
_MAX_NAME_CHARACTERS = 200
_MAX_TIME_ZONE_CHARACTERS = 60
_MAX_BRACKETS = 20_000
# These say who asks what, where, and whether the app was removed. Any other field of the wrong type is dropped, so that
# an optional one never costs the whole message.
_REQUIRED = frozenset(
    {
        "type", "id", "channelId", "serviceUrl", "text", "action", "membersRemoved",
        "from", "from.id", "recipient", "recipient.id",
        "conversation", "conversation.id", "conversation.tenantId", "conversation.tenantID",
    }
)  # fmt: skip
_MILLISECONDS = re.compile("[0-9]{13}")


class BadActivityError(Exception):
    """`sentence` says what is wrong and quotes nothing of the input; `status` is the HTTP status of the answer."""

    def __init__(self, sentence: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


class _WrongTypeError(BadActivityError):
    """A field has the wrong type. The field may be optional."""


def parse_activity(body: bytes) -> Activity:
    """Every field of the activity has the type that its schema names, or is absent. Raises `BadActivityError` alone."""
    if len(body) > MAX_ACTIVITY_BYTES:
        raise BadActivityError("An activity may have 256 KB at most.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    data = _load(body)
    if not isinstance(data, dict):
        raise BadActivityError("The body must be a JSON object.")
    activity: Activity = _model(Activity, data, "")
    if not activity.type:
        raise BadActivityError("Field 'type' is missing.")
    return activity


def _load(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    # Few brackets cannot make many levels, so an ordinary activity needs no walk; very many are refused outright.
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > _MAX_BRACKETS:
        raise BadActivityError("The JSON has too many lists and objects.")
    try:
        text = body.decode("utf-8-sig")
        data = json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except (ValueError, RecursionError):
        raise BadActivityError("The body must be JSON in UTF-8.") from None
    if brackets > _MAX_LEVELS and _levels_exceed(data, _MAX_LEVELS):
        raise BadActivityError(f"The JSON may be nested {_MAX_LEVELS} levels deep at most.")
    return repair_texts(data) if "\\ud" in text or "\\uD" in text else data


def _refuse_number(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _levels_exceed(data: object, most: int) -> bool:
    level = [data]
    for _ in range(most):
        level = [item for outer in level for item in _children(outer) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _children(container: object) -> Iterator[Any]:
    return iter(container.values() if isinstance(container, dict) else container)  # type: ignore[call-overload, no-any-return]


def repair_texts(data: Any) -> Any:  # noqa: ANN401 - any JSON
    """Lone surrogates in any text of it replaced: neither storage nor a model takes them."""
    if isinstance(data, str):
        return replace_lone_surrogates(data)
    if isinstance(data, list):
        return [repair_texts(item) for item in data]
    if isinstance(data, dict):
        return {repair_texts(key): repair_texts(item) for key, item in data.items()}
    return data


def _model(kind: type[Any], data: object, path: str) -> Any:  # noqa: ANN401 - an instance of `kind`
    """Builds what msrest would, but checks types, and spends nothing on fields that are absent."""
    if not isinstance(data, dict):
        raise _WrongTypeError(f"Field '{path}' must be an object.")
    known = {description["key"]: (name, description["type"]) for name, description in kind._attribute_map.items()}
    prefix = f"{path}." if path else ""
    fields: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in data.items():
        if key in known:
            name, type_name = known[key]
            fields[name] = None if value is None else _field_or_none(type_name, value, prefix + key)
        else:
            unknown[key] = value
    if kind is ConversationAccount and fields.get("tenant_id") is None and "tenantId" in unknown:
        # The SDK looks for tenantID; channels send tenantId.
        fields["tenant_id"] = _field_or_none("str", unknown.pop("tenantId"), f"{prefix}tenantId")
    model = kind(**fields)
    model.additional_properties = unknown
    return model


def _field_or_none(type_name: str, value: Any, path: str) -> Any:  # noqa: ANN401 - any JSON
    """None for an optional field of the wrong type."""
    try:
        return _field(type_name, value, path)
    except _WrongTypeError:
        if path in _REQUIRED:
            raise
        return None


_SCALARS: dict[str, tuple[type, str]] = {"str": (str, "a string"), "bool": (bool, "true or false")}


def _field(type_name: str, value: Any, path: str) -> Any:  # noqa: ANN401 - any JSON
    if type_name in _SCALARS:
        scalar, words = _SCALARS[type_name]
        if not isinstance(value, scalar):
            raise _WrongTypeError(f"Field '{path}' must be {words}.")
        return value
    if type_name == "object":
        return value
    if type_name == "int":
        if not isinstance(value, int) or isinstance(value, bool):
            raise _WrongTypeError(f"Field '{path}' must be a whole number.")
        return value
    if value == "":
        # Some channels write an empty string for an absent object, list or time.
        return None
    if type_name == "iso-8601":
        return _time(value, path)
    if type_name.startswith("["):
        return _list(type_name[1:-1], value, path)
    if type_name.startswith("{"):
        return _mapping(type_name[1:-1], value, path)
    return _model(getattr(schema, type_name), value, path)


def _time(value: object, path: str) -> datetime:
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise _WrongTypeError(f"Field '{path}' must be a time in ISO 8601.")


def _list(type_name: str, value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongTypeError(f"Field '{path}' must be a list.")
    if len(value) > _MAX_ITEMS:
        raise BadActivityError(f"Field '{path}' may have {_MAX_ITEMS} items at most.")
    items = [_field_or_none(type_name, item, f"{path}[]") for item in value if item is not None]
    return [item for item in items if item is not None]


def _mapping(type_name: str, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _WrongTypeError(f"Field '{path}' must be an object.")
    if len(value) > _MAX_ITEMS:
        raise BadActivityError(f"Field '{path}' may have {_MAX_ITEMS} items at most.")
    items = {key: _field_or_none(type_name, item, f"{path}.*") for key, item in value.items() if item is not None}
    return {key: item for key, item in items.items() if item is not None}


def tenant_id(activity: Activity) -> str | None:
    """The Microsoft Entra tenant, if the channel names one."""
    return _tenant_of_channel_data(activity) or _tenant_of_conversation(activity)


def tenant_ids(activity: Activity) -> frozenset[str]:
    """Every tenant that the activity says it belongs to, in lower case."""
    named = (_tenant_of_channel_data(activity), _tenant_of_conversation(activity), _other_spelling(activity))
    return frozenset(tenant.lower() for tenant in named if tenant)


def _tenant_of_channel_data(activity: Activity) -> str | None:
    data = activity.channel_data
    tenant = data.get("tenant") if isinstance(data, dict) else None
    return _text(tenant.get("id")) if isinstance(tenant, dict) else None


def _tenant_of_conversation(activity: Activity) -> str | None:
    return _text(activity.conversation.tenant_id) if activity.conversation else None


def _other_spelling(activity: Activity) -> str | None:
    """`tenantId` of a conversation that has a `tenantID` too: parsers differ in which of them they read."""
    more = (activity.conversation.additional_properties if activity.conversation else None) or {}
    return _text(more.get("tenantId"))


def caller_of(activity: Activity) -> Caller:
    """Who wrote it. The Entra object id is taken from Teams alone: clients of other channels may write any."""
    person = activity.from_property or ChannelAccount()
    return Caller(
        tenant_id=tenant_id(activity) or "",
        user_id=_text(person.id) or "",
        entra_object_id=(_text(person.aad_object_id) or "") if is_from_teams(activity) else "",
        name=(_text(person.name) or "")[:_MAX_NAME_CHARACTERS],
    )


def locale_of(activity: Activity) -> str:
    """The language of the person's client, a tag such as `de-AT`; empty if the activity does not name it.

    Some clients name it in the entity `clientInfo` alone. It is absent when the app is added:
    https://github.com/MicrosoftDocs/msteams-docs/issues/896
    """
    named = [activity.locale]
    named += [entity.additional_properties.get("locale") for entity in activity.entities or () if _is_client(entity)]
    return next((tag for tag in map(_text, named) if tag is not None), "")[:_MAX_LOCALE_CHARACTERS]


def time_zone_of(activity: Activity) -> str:
    """The IANA name that the person's client gave, else its offset from UTC such as `+01:00`; empty without either.

    https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md
    """
    name = _text(activity.local_timezone) or ""
    if ("/" in name or name == "UTC") and len(name) <= _MAX_TIME_ZONE_CHARACTERS:
        return name
    local = activity.local_timestamp
    return local.strftime("%z") if isinstance(local, datetime) and local.tzinfo is not None else ""


def _is_client(entity: schema.Entity) -> bool:
    return (entity.type or "").lower() == "clientinfo"


def conversation_type(activity: Activity) -> str:
    """`personal`, `groupChat`, `channel`; empty if the channel does not say."""
    return (_text(activity.conversation.conversation_type) if activity.conversation else None) or ""


def is_from_teams(activity: Activity) -> bool:
    """True for Microsoft 365 Copilot too, which comes through Teams."""
    return (activity.channel_id or "").partition(":")[0] == "msteams"


def is_targeted(activity: Activity) -> bool:
    """Whether, in a group or channel, only its sender and the bot see it.

    https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/targeted-messages
    """
    more = (activity.recipient.additional_properties if activity.recipient else None) or {}
    return more.get("isTargeted") is True


def asked_at(activity: Activity) -> float | None:
    """When the channel received it, in seconds since 1970; None if it does not say.

    Without a timestamp, the id of a Teams message is that time in milliseconds; but an edit keeps its message's id.
    """
    moment = activity.timestamp
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    milliseconds = _MILLISECONDS.fullmatch(activity.id or "")
    return int(milliseconds[0]) / 1000 if milliseconds and activity.type == "message" else None


def event_type(activity: Activity) -> str:
    """What Teams says happened to a message: `editMessage`, `undeleteMessage`; empty if nothing."""
    data = activity.channel_data
    return (_text(data.get("eventType")) if isinstance(data, dict) else None) or ""


def is_from_copilot(activity: Activity) -> bool:
    """Copilot comes as channel msteams, with an entity (Agents SDK) or a product context that names it."""
    data = activity.channel_data
    products = [data.get("productContext")] if isinstance(data, dict) else []
    products += [entity.additional_properties.get("id") for entity in activity.entities or () if _is_product(entity)]
    return any(isinstance(product, str) and product.upper().startswith("COPILOT") for product in products)


def _is_product(entity: schema.Entity) -> bool:
    return (entity.type or "").lower() == "productinfo"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
