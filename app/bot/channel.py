"""What each channel can show. Nothing else asks which channel it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from app.bot.rendering.adaptive_card import CARD_KINDS

# In UTF-16 code units: under half of what Teams allows a message, so that a card, entities and formatting fit too.
# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages (100 KB, 80 KB recommended)
TEXT_LIMIT = 18_000


class WhenTimeRunsOut(Enum):
    EDIT_THE_MESSAGE = "edit"
    NEW_MESSAGE = "new message"


@dataclass(frozen=True, slots=True)
class Streaming:
    """All times in seconds. `interval` is the least between the end of one update and the start of the next."""

    interval: float
    closes_after: float
    then: WhenTimeRunsOut
    keep_alive: float


@dataclass(frozen=True, slots=True)
class Channel:
    """Images in answers are shown where they come from `image_hosts`; all others become links. `cards` are the kinds of
    content blocks that are shown on an Adaptive Card; all others are written into the text.
    """

    name: str
    streaming: Streaming | None = None
    typing: bool = True
    ai_label: bool = True
    feedback: bool = False
    welcome: bool = True
    needs_mention: bool = False
    text_limit: int = TEXT_LIMIT
    time_limit: float = math.inf
    image_hosts: frozenset[str] = frozenset()
    cards: frozenset[str] = frozenset()


# Teams ends a stream after two minutes, and allows one request a second
# (https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux).
# A welcome would take the place of the prompt starters in appPackage/manifest.json
# (https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/prompt-suggestions).
TEAMS_PERSONAL = Channel(
    "Teams, one to one",
    streaming=Streaming(1.0, closes_after=110, then=WhenTimeRunsOut.EDIT_THE_MESSAGE, keep_alive=35),
    feedback=True,
    welcome=False,
    cards=CARD_KINDS,
)
TEAMS_GROUP = Channel("Teams group or channel", needs_mention=True, cards=CARD_KINDS)
# Copilot shows tables in Markdown, and its app on phones shows no card: what can stand in the text stands there.
# It gives up after 45 seconds without an update, cannot edit, and keeps feedback to itself
# (https://learn.microsoft.com/microsoft-365-copilot/extensibility/known-issues).
COPILOT = Channel(
    "Microsoft 365 Copilot",
    streaming=Streaming(1.0, closes_after=105, then=WhenTimeRunsOut.NEW_MESSAGE, keep_alive=35),
    welcome=False,
    cards=frozenset({"actions"}),
)
WEB_CHAT = Channel("Web Chat or Direct Line", cards=CARD_KINDS)
EMULATOR = Channel("Bot Framework Emulator", cards=CARD_KINDS)
# Azure Functions ends a call after 230 seconds, and these replies with it.
EXPECT_REPLIES = Channel("replies in the HTTP response", typing=False, time_limit=180)
OTHER = Channel("another channel", typing=False, ai_label=False)


def channel_of(
    channel_id: str, *, conversation_type: str = "", in_copilot: bool = False, expects_replies: bool = False
) -> Channel:
    if expects_replies:
        return EXPECT_REPLIES
    if channel_id == "msteams" or channel_id.startswith("msteams:"):
        if in_copilot or channel_id.upper().startswith("MSTEAMS:COPILOT"):
            return COPILOT
        return TEAMS_GROUP if conversation_type in {"groupChat", "channel"} else TEAMS_PERSONAL
    if channel_id in {"webchat", "directline"}:
        return WEB_CHAT
    return EMULATOR if channel_id == "emulator" else OTHER
