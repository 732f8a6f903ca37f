"""Parts of an Adaptive Card that all renderers of one need: its room, its paragraphs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from app.bot.rendering.markdown import utf16_units
from app.content.blocks import Action, ActionStyle
from app.content.data_text import as_data, one_line

Json = dict[str, Any]

# Teams on phones shows no card in which a text is empty: https://github.com/microsoft/AdaptiveCards/issues/4478
NOTHING = "\u00a0"


class Room:
    """What is left of a card's size."""

    def __init__(self, units: int) -> None:
        self._units = units

    def takes(self, part: Json) -> bool:
        self._units -= (units := size_of(part) + 1)
        if self._units < 0:
            self._units += units
            return False
        return True


def size_of(part: Json) -> int:
    if part.get("type") == "Image":
        # https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages
        part = {**part, "url": ""}
    return utf16_units(json.dumps(part, ensure_ascii=False, separators=(",", ":")))


def fitting(parts: Sequence[Json], room: Room) -> list[Json]:
    fitting = []
    for part in parts:
        if not room.takes(part):
            break
        fitting.append(part)
    return fitting


def heading(title: str, room: Room) -> Iterator[Json]:
    drawn = text_block(as_data(title), weight="Bolder", size="Medium", style="heading")
    if title.strip() and room.takes(drawn):
        yield drawn


def text_block(markdown: str, **look: object) -> Json:
    return {"type": "TextBlock", "text": markdown, "wrap": True, **look}


def action_element(action: Action, decision_id: str) -> Json:
    """https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model"""
    data = {**action.data, "action_id": decision_id} if decision_id else dict(action.data)
    drawn: Json = {
        "type": "Action.Execute", "verb": action.verb, "title": one_line(action.title), "data": data
    }  # fmt: skip
    return drawn if action.style is ActionStyle.DEFAULT else {**drawn, "style": action.style.value}
