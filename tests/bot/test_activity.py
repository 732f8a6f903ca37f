from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botbuilder.schema import Activity
from hypothesis import given
from hypothesis import strategies as st

from app.bot.inbound.activity import (
    MAX_ACTIVITY_BYTES,
    BadActivityError,
    asked_at,
    caller_of,
    conversation_type,
    is_from_copilot,
    is_targeted,
    parse_activity,
    tenant_id,
    tenant_ids,
)
from app.bot.inbound.inbound_question import InboundQuestion
from app.bot.sdk.sdk_entities import serialise

TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
MESSAGE: dict[str, Any] = {
    "type": "message",
    "id": "1700000000000",
    "timestamp": "2026-11-21T04:33:10.1234567Z",
    "localTimestamp": "2026-11-21T05:33:10.123+01:00",
    "localTimezone": "Europe/Berlin",
    "serviceUrl": "https://smba.trafficmanager.net/emea/",
    "channelId": "msteams",
    "from": {"id": "29:1x", "name": "Adele", "aadObjectId": "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "role": "user"},
    "conversation": {"id": "a:1y", "conversationType": "personal", "tenantId": TENANT, "isGroup": False},
    "recipient": {"id": "28:bot", "name": "Databricks"},
    "text": "What failed yesterday?",
    "textFormat": "plain",
    "locale": "en-US",
    "entities": [
        {"type": "clientInfo", "locale": "en-US", "platform": "Web"},
        {"type": "mention", "text": "<at>Databricks</at>", "mentioned": {"id": "28:bot"}},
    ],
    "attachments": [{"contentType": "text/html", "content": "<p>What failed yesterday?</p>"}],
    "channelData": {"tenant": {"id": TENANT}},
    "suggestedActions": {"to": ["29:1x"], "actions": [{"type": "imBack", "title": "Yes", "value": "yes"}]},
    "membersAdded": [{"id": "28:bot"}],
    "semanticAction": {"id": "s", "entities": {"e": {"type": "t"}}},
    "textHighlights": [{"text": "failed", "occurrence": 1}],
    "relatesTo": {"activityId": "1", "conversation": {"id": "a:1y"}},
}


def body(**fields: Any) -> bytes:
    return json.dumps({"type": "message", **fields}).encode()


# 2026-11-21 04:33:10 UTC.
MOMENT = 1795235590.0


@pytest.mark.parametrize(
    ("fields", "moment"),
    [
        ({"timestamp": "2026-11-21T04:33:10Z"}, MOMENT),
        ({"timestamp": "2026-11-21T04:33:10.1234567Z"}, MOMENT + 0.123456),
        ({"timestamp": "2026-11-21T05:33:10+01:00"}, MOMENT),
        ({"timestamp": "2026-11-21T04:33:10"}, MOMENT),
        ({"timestamp": "2026-11-21T04:33:10Z", "id": "1700000000000"}, MOMENT),
        ({"id": "1795235590123"}, MOMENT + 0.123),
        ({"timestamp": "", "id": "1795235590123"}, MOMENT + 0.123),
        ({"id": "1795235590123", "type": "messageUpdate"}, None),
        ({"timestamp": "2026-11-21T04:33:10Z", "id": "1700000000000", "type": "messageUpdate"}, MOMENT),
        ({"id": "f:1795235590123"}, None),
        ({"id": "179523559012"}, None),
        ({"id": "１７９５２３５５９０１２３"}, None),
        ({"id": "3f0c8a5e"}, None),
        ({}, None),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, -62135647200.0),
        ({"timestamp": "9999-12-31T23:59:59-12:00"}, 253402343999.0),
    ],
)
def test_a_question_was_asked_when_the_channel_says_so(fields: dict[str, Any], moment: float | None) -> None:
    asked = asked_at(parse_activity(body(**fields)))
    assert asked == (None if moment is None else pytest.approx(moment, abs=1e-5))


def read_by_sdk(content: dict[str, Any]) -> Any:
    sdk: Any = Activity
    return sdk.deserialize(json.loads(json.dumps(content)))


def refusal(content: bytes) -> BadActivityError:
    with pytest.raises(BadActivityError) as caught:
        parse_activity(content)
    assert caught.value.sentence.endswith(".")
    return caught.value


def test_a_message_of_teams_is_read_as_the_sdk_would_read_it() -> None:
    ours: Any
    ours, theirs = parse_activity(json.dumps(MESSAGE).encode()), read_by_sdk(MESSAGE)

    for activity in (ours, theirs):
        activity.timestamp = activity.local_timestamp = None
    assert ours.serialize() == {**theirs.serialize(), "conversation": ours.conversation.serialize()}
    assert [e.additional_properties for e in ours.entities] == [e.additional_properties for e in theirs.entities]


def test_the_tenant_of_the_conversation_is_read_where_the_sdk_loses_it() -> None:
    content = {"type": "message", "conversation": {"id": "a:1y", "tenantId": TENANT}}

    assert read_by_sdk(content).conversation.tenant_id is None
    assert parse_activity(json.dumps(content).encode()).conversation.tenant_id == TENANT


def test_more_than_256_kb_is_too_large() -> None:
    assert refusal(b" " * (MAX_ACTIVITY_BYTES + 1)).status == 413
    assert parse_activity(body() + b" " * (MAX_ACTIVITY_BYTES - len(body()))).type == "message"


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"hello", b'{"type": NaN}', b'{"type":"m","value":1e999}'],
    ids=["nothing", "not UTF-8", "half a pair", "cut", "words", "NaN", "infinite"],
)
def test_a_body_that_is_not_json_is_refused(content: bytes) -> None:
    assert (refusal(content).status, refusal(content).sentence) == (400, "The body must be JSON in UTF-8.")


@pytest.mark.parametrize("content", [b"[]", b"5", b'"message"', b"null", b"true"])
def test_json_that_is_not_an_object_is_refused(content: bytes) -> None:
    assert refusal(content).sentence == "The body must be a JSON object."


@pytest.mark.parametrize("content", [b"{}", b'{"type":""}', b'{"type":null}'])
def test_an_activity_without_a_type_is_refused(content: bytes) -> None:
    assert refusal(content).sentence == "Field 'type' is missing."


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"conversation": 5}, "Field 'conversation' must be an object."),
        ({"from": []}, "Field 'from' must be an object."),
        ({"recipient": "bot"}, "Field 'recipient' must be an object."),
        ({"text": 5}, "Field 'text' must be a string."),
        ({"serviceUrl": {}}, "Field 'serviceUrl' must be a string."),
        ({"conversation": {"id": {}}}, "Field 'conversation.id' must be a string."),
        ({"conversation": {"tenantId": 5}}, "Field 'conversation.tenantId' must be a string."),
        ({"conversation": {"tenantID": 5}}, "Field 'conversation.tenantID' must be a string."),
        # Dropped, the app's removal would be acknowledged and not done.
        ({"membersRemoved": {"id": "28:bot"}}, "Field 'membersRemoved' must be a list."),
        ({"action": 5}, "Field 'action' must be a string."),
        ({"membersAdded": [{}] * 1001}, "Field 'membersAdded' may have 1000 items at most."),
    ],
)
def test_a_required_field_of_the_wrong_type_is_named(fields: dict[str, Any], sentence: str) -> None:
    assert refusal(body(**fields)).sentence == sentence


@pytest.mark.parametrize(
    "fields",
    [
        {"suggestedActions": []},
        {"suggestedActions": {"actions": ["yes", {"type": 5}], "to": "29:1x"}},
        {"timestamp": "11/26/2026 9:41:07 PM"},
        {"timestamp": 1764193267},
        {"localTimestamp": {}},
        {"entities": "x"},
        {"entities": {"type": "mention"}},
        {"entities": [5, "", [], {"type": 5}]},
        {"attachments": ["", 5, {"contentType": 5, "name": []}]},
        {"historyDisclosed": "yes"},
        {"textHighlights": [{"occurrence": True}]},
        {"semanticAction": {"entities": []}},
        {"semanticAction": {"entities": {"a": 5}}},
        {"relatesTo": {"conversation": 5}},
        {"conversation": {"id": "c", "isGroup": "no", "name": 5}},
        {"from": {"id": "29:1x", "name": {"first": "Ann"}, "aadObjectId": 5}},
        {"locale": 5},
        {"membersAdded": "28:bot"},
    ],
)
def test_an_optional_field_of_the_wrong_type_is_dropped(fields: dict[str, Any]) -> None:
    activity = parse_activity(body(text="Why?", **fields))

    assert activity.text == "Why?"
    json.dumps(serialise(activity))


@pytest.mark.parametrize("nothing", ["", None, 5, [], "28:bot"])
def test_an_empty_item_of_a_list_is_dropped_and_the_others_stay(nothing: Any) -> None:
    bot = {"id": "28:bot"}
    activity = parse_activity(body(membersRemoved=[nothing, bot], membersAdded=[bot, nothing], attachments=[nothing]))

    assert [member.id for member in activity.members_removed] == ["28:bot"]
    assert [member.id for member in activity.members_added] == ["28:bot"]
    assert activity.attachments == []


def test_a_conversation_that_names_its_tenant_in_two_ways_has_both() -> None:
    activity = parse_activity(body(conversation={"id": "c", "tenantID": "A", "tenantId": "B"}))

    assert tenant_ids(activity) == {"a", "b"}


@pytest.mark.parametrize("depth", [65, 500, 5000, 100_000])
def test_absurd_nesting_is_refused(depth: int) -> None:
    nested = b'{"type":"message","value":' + b"[" * depth + b"]" * depth + b"}"

    assert refusal(nested).status == 400


def test_a_body_of_brackets_is_refused_unparsed() -> None:
    assert refusal(body(value=[{}] * 20_000)).sentence == "The JSON has too many lists and objects."


def test_a_card_of_ordinary_depth_is_read() -> None:
    depth = 60

    assert parse_activity(b'{"type":"message","value":' + b"[" * depth + b"]" * depth + b"}").value is not None


def test_null_and_empty_values_count_as_absent() -> None:
    activity = parse_activity(body(conversation=None, recipient="", entities="", timestamp="", attachments=[None]))

    assert (activity.conversation, activity.recipient, activity.entities, activity.timestamp) == (None,) * 4
    assert activity.attachments == []


def test_half_an_emoji_becomes_a_replacement_character_that_can_be_stored() -> None:
    activity = parse_activity(b'{"type":"message","text":"\\ud83d\\ude00 \\ud83d","value":{"\\uDE00":["\\ud83d"]}}')

    assert activity.text == "😀 \ufffd"
    assert activity.value == {"\ufffd": ["\ufffd"]}


def test_the_last_of_two_equal_keys_counts() -> None:
    assert parse_activity(b'{"type":"message","text":"a","text":"b"}').text == "b"


def test_channel_data_and_values_of_any_shape_are_kept() -> None:
    activity = parse_activity(body(channelData=[1], value="x", unheardOf={"a": 1}))

    assert (activity.channel_data, activity.value) == ([1], "x")
    assert activity.additional_properties == {"unheardOf": {"a": 1}}


def test_the_accessors_find_what_teams_sends() -> None:
    activity = parse_activity(json.dumps(MESSAGE).encode())

    assert tenant_id(activity) == TENANT
    assert tenant_ids(activity) == {TENANT}
    assert caller_of(activity).entra_object_id == "87d349ed-44d7-43e1-9a83-5f2406dee5bd"
    assert conversation_type(activity) == "personal"
    assert not is_from_copilot(activity)


@pytest.mark.parametrize(
    "fields",
    [
        {"entities": [{"type": "ProductInfo", "id": "COPILOT"}]},
        {"entities": [{"type": "productInfo", "id": "Copilot-word"}]},
        {"channelData": {"productContext": "COPILOT"}},
    ],
)
def test_copilot_is_distinguished_from_teams(fields: dict[str, Any]) -> None:
    assert is_from_copilot(parse_activity(body(**fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {"channelData": 5},
        {"channelData": {"tenant": 5, "productContext": 5}},
        {"channelData": {"tenant": {"id": 5}}},
        {"channelData": {"tenant": {"id": ""}}},
        {"entities": [{"type": "ProductInfo", "id": 5}, {}]},
        {"conversation": {}, "from": {}},
    ],
)
def test_the_accessors_accept_fields_of_any_shape(fields: dict[str, Any]) -> None:
    activity = parse_activity(body(**fields))

    assert (tenant_id(activity), tenant_ids(activity)) == (None, frozenset())
    assert caller_of(activity).entra_object_id == ""
    assert (conversation_type(activity), is_from_copilot(activity)) == ("", False)


TEXT = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs too
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just("2026-11-21T04:33:10Z"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KNOWN_KEYS = [description["key"] for description in Activity._attribute_map.values()]
NESTED_KEYS = [
    *("id", "type", "tenant", "tenantId", "tenantID", "entities", "isGroup", "actions", "to", "occurrence"),
    *("mentioned", "text", "name", "preview", "quotedReply", "contentType", "content", "messageSender", "isTargeted"),
]
WORDS = ["mention", "quotedReply", "text/html", "messageReference", "<at>x</at>", '{"messagePreview":"\\\\ud800"}']
NESTED_VALUES = ANY_JSON | st.sampled_from(WORDS) | st.dictionaries(st.sampled_from(NESTED_KEYS), ANY_JSON, max_size=2)
NESTED = st.dictionaries(st.sampled_from(NESTED_KEYS), NESTED_VALUES, max_size=4)
ACTIVITIES = st.dictionaries(
    st.sampled_from(KNOWN_KEYS) | st.text(max_size=8), ANY_JSON | NESTED | st.lists(NESTED, max_size=3), max_size=12
)


def use(content: bytes) -> None:
    try:
        activity = parse_activity(content)
    except BadActivityError:
        return
    tenant_id(activity), tenant_ids(activity), caller_of(activity), conversation_type(activity)
    is_from_copilot(activity), is_targeted(activity)
    InboundQuestion.of(activity).model_dump_json()
    assert isinstance(activity.type, str)
    json.dumps([activity.value, activity.channel_data, activity.text], ensure_ascii=False, allow_nan=False).encode()


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_bad_activity(content: bytes) -> None:
    use(content)


@given(ACTIVITIES, st.booleans())
def test_no_json_object_raises_anything_but_bad_activity(fields: dict[str, Any], with_type: bool) -> None:
    use(json.dumps({**fields, "type": "message"} if with_type else fields).encode())


@given(st.text(max_size=40))
def test_no_time_raises_anything_but_bad_activity(value: str) -> None:
    use(body(timestamp=value))


def test_a_huge_number_is_accepted() -> None:
    use(b'{"type":"message","value":' + b"9" * 5000 + b"}")
    use(b'{"type":"message","timestamp":' + b"9" * 4000 + b"}")


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"type": "message", "entities": [{}] * 80_000}, separators=(",", ":")).encode(),
        json.dumps({"type": "message", "entities": [{"type": "x" * 200}] * 1000}, separators=(",", ":")).encode(),
        json.dumps({"type": "message", "value": [[]] * 80_000}, separators=(",", ":")).encode(),
        b'{"type":"message","value":' + b"[" * 120_000 + b"]" * 120_000 + b"}",
        json.dumps({"type": "message", "text": "\ud83d" * 40_000}).encode(),
    ],
    ids=["many entities", "as many entities as are read", "many lists", "deep", "many halves"],
)
def test_the_worst_256_kb_do_not_hold_up_the_event_loop(content: bytes) -> None:
    assert len(content) <= MAX_ACTIVITY_BYTES
    times = []
    for _ in range(3):
        started = time.thread_time()
        use_only_parser(content)
        times.append(time.thread_time() - started)

    # In CPU time: 20 ms is what the worker may be blocked for, and the machine of the test may be slow.
    assert min(times) < 0.1


def use_only_parser(content: bytes) -> None:
    try:
        parse_activity(content)
    except BadActivityError:
        return
