"""Which row of the capability table a conversation gets."""

from __future__ import annotations

import pytest

from app.bot.channel import (
    COPILOT,
    EMULATOR,
    EXPECT_REPLIES,
    OTHER,
    TEAMS_GROUP,
    TEAMS_PERSONAL,
    WEB_CHAT,
    AfterClosing,
    Channel,
    channel_of,
)


@pytest.mark.parametrize(
    ("channel_id", "conversation_type", "in_copilot", "expects_replies", "channel"),
    [
        ("msteams", "personal", False, False, TEAMS_PERSONAL),
        ("msteams", "", False, False, TEAMS_PERSONAL),
        ("msteams", "groupChat", False, False, TEAMS_GROUP),
        ("msteams", "channel", False, False, TEAMS_GROUP),
        ("msteams", "personal", True, False, COPILOT),
        ("msteams:COPILOT", "personal", False, False, COPILOT),
        ("webchat", "", False, False, WEB_CHAT),
        ("directline", "", False, False, WEB_CHAT),
        ("emulator", "", False, False, EMULATOR),
        ("slack", "", False, False, OTHER),
        ("", "", False, False, OTHER),
        ("msteams", "personal", False, True, EXPECT_REPLIES),
    ],
)
def test_a_conversation_gets_its_row_of_the_table(
    channel_id: str, conversation_type: str, in_copilot: bool, expects_replies: bool, channel: Channel
) -> None:
    found = channel_of(
        channel_id, conversation_type=conversation_type, in_copilot=in_copilot, expects_replies=expects_replies
    )
    assert found is channel


def test_copilot_gets_no_edits_no_feedback_buttons_and_no_welcome() -> None:
    assert COPILOT.streaming is not None
    assert COPILOT.streaming.after_closing is AfterClosing.NEW_MESSAGE
    assert not COPILOT.feedback
    assert not COPILOT.welcome


def test_only_groups_have_to_mention_the_bot() -> None:
    rows = (TEAMS_PERSONAL, TEAMS_GROUP, COPILOT, WEB_CHAT, EMULATOR, EXPECT_REPLIES, OTHER)
    assert [row for row in rows if row.needs_mention] == [TEAMS_GROUP]


def test_images_of_charts_are_shown_on_cards_that_draw_no_charts() -> None:
    rows = (TEAMS_PERSONAL, TEAMS_GROUP, COPILOT, WEB_CHAT, EMULATOR, EXPECT_REPLIES, OTHER)
    assert [row for row in rows if row.shows_chart_images] == [WEB_CHAT, EMULATOR]
