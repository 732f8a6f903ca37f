from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from botbuilder.schema import Activity, Entity, Mention

from app.bot.sdk.sdk_entities import entity, plain, serialise
from tests.fakes.adapter_bot import STREAM_INFO, TENANT, Bot, a_bot


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with a_bot() as made:
        yield made


def test_an_entity_keeps_all_of_its_fields() -> None:
    activity = Activity(type="typing", text="H", entities=[entity(STREAM_INFO)])
    the_sdk: Any = activity

    assert the_sdk.serialize()["entities"] == [{"type": "streaminfo"}]
    assert serialise(activity)["entities"] == [STREAM_INFO]


def test_entities_of_every_kind_are_written() -> None:
    activity = Activity(type="message")
    activity.entities = [Mention(text="<at>x</at>"), dict(STREAM_INFO), Entity(type="plain")]

    assert serialise(activity)["entities"] == [{"text": "<at>x</at>"}, STREAM_INFO, {"type": "plain"}]


def test_an_activity_is_serialised_as_it_came_in(bot: Bot) -> None:
    fields = {"entities": [STREAM_INFO], "value": {"a": [1, None]}, "timestamp": "2026-11-21T04:33:10+00:00"}

    assert serialise(bot.activity(**fields)) == serialise(bot.activity()) | fields
    assert serialise(bot.activity())["conversation"]["tenantId"] == TENANT


def test_plain_json_stays_as_it_is() -> None:
    content = {"a": [1, None, 2.5, True, "x"], "b": {}}

    assert plain(content) == content
