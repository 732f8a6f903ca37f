"""What each channel can show: the only place that knows one channel from another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

# In UTF-16 code units: under half of what Teams allows a message, so that a card, entities and formatting fit too.
# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages (100 KB, 80 KB recommended)
TEXT_LIMIT_UTF16 = 18_000
# 40 KB, so that card, text and entities stay below the 80 KB that Teams recommends.
CARD_LIMIT_UTF16 = 20_000
CARD_KINDS = frozenset({"table", "chart", "facts", "actions", "forms", "folded"})
"""The content blocks that an Adaptive Card shows."""


class AfterClosing(Enum):
    """How an answer goes on whose stream had to be closed because of its age."""

    EDIT = "edit the message"
    NEW_MESSAGE = "new message"


@dataclass(frozen=True, slots=True)
class Streaming:
    """`interval_seconds` is the least time from the end of one update to the start of the next; after
    `keep_alive_seconds` an update is sent though nothing is new.
    """

    interval_seconds: float
    closes_after_seconds: float
    after_closing: AfterClosing
    keep_alive_seconds: float


@dataclass(frozen=True, slots=True)
class SensitivityLabel:
    """How confidential answers are. `id` is a label's in Microsoft Purview, and wins over the words."""

    name: str
    description: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """What an administrator sets of how answers are shown, whatever the channel."""

    image_hosts: frozenset[str] = frozenset()
    sensitivity_label: SensitivityLabel | None = None


DEFAULT_DISPLAY = DisplaySettings()


@dataclass(frozen=True, slots=True)
class Channel:
    """`text_limit_utf16` is in UTF-16 code units; `time_limit_seconds` is what a turn may take. Images in answers are
    shown where they come from `image_hosts`, and else become links. `cards` are the kinds of content blocks that are
    shown on an Adaptive Card; all others are written into the text. Without `draws_charts` a card has a chart's image
    or table. `takes_files`: the bot can send files (a consent card). `mentions_people`: a mention notifies its person.
    """

    name: str
    streaming: Streaming | None = None
    typing: bool = True
    ai_label: bool = True
    feedback: bool = False
    welcome: bool = True
    needs_mention: bool = False
    text_limit_utf16: int = TEXT_LIMIT_UTF16
    time_limit_seconds: float = math.inf
    image_hosts: frozenset[str] = frozenset()
    cards: frozenset[str] = frozenset()
    draws_charts: bool = True
    takes_files: bool = False
    mentions_people: bool = False
    shows_sensitivity_labels: bool = False
    sensitivity_label: SensitivityLabel | None = None

    @property
    def shows_chart_images(self) -> bool:
        return "chart" in self.cards and not self.draws_charts

    def with_settings(self, display: DisplaySettings) -> Channel:
        label = display.sensitivity_label if self.shows_sensitivity_labels else None
        return replace(self, image_hosts=display.image_hosts, sensitivity_label=label)


# Teams ends a stream after two minutes, and allows one request a second
# (https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux).
# A welcome would take the place of the prompt starters in appPackage/manifest.json
# (https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/prompt-suggestions).
TEAMS_PERSONAL = Channel(
    "Teams, one to one",
    streaming=Streaming(1.0, 110, AfterClosing.EDIT, keep_alive_seconds=35),
    feedback=True,
    welcome=False,
    cards=CARD_KINDS,
    takes_files=True,
    mentions_people=True,
    shows_sensitivity_labels=True,
)
TEAMS_GROUP = Channel(
    "Teams group or channel",
    needs_mention=True,
    cards=CARD_KINDS,
    mentions_people=True,
    shows_sensitivity_labels=True,
)
# Copilot shows tables in Markdown, and its app on phones shows no card: what can stand in the text stands there.
# It gives up after 45 seconds without an update, cannot edit, shows no sensitivity label, and keeps feedback to itself
# (https://learn.microsoft.com/microsoft-365-copilot/extensibility/known-issues).
COPILOT = Channel(
    "Microsoft 365 Copilot",
    streaming=Streaming(1.0, 105, AfterClosing.NEW_MESSAGE, keep_alive_seconds=35),
    welcome=False,
    cards=frozenset({"actions", "forms", "folded"}),
)
# Both draw cards with npm adaptivecards, which knows no charts.
WEB_CHAT = Channel("Web Chat or Direct Line", cards=CARD_KINDS, draws_charts=False)
EMULATOR = Channel("Bot Framework Emulator", cards=CARD_KINDS, draws_charts=False)
# Azure Functions ends an HTTP call after 230 seconds, and these replies are its response.
EXPECT_REPLIES = Channel("replies in the HTTP response", typing=False, time_limit_seconds=180)
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
