"""Forms on an Adaptive Card: a row of buttons, each of which opens the inputs of its form. Pure.

https://adaptivecards.io/explorer/Input.Text.html, Input.ChoiceSet.html. On the card itself: nested ones are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.bot.rendering.card_elements import NOTHING, Json, Room, action_element
from app.content.blocks import Form, Forms, Input
from app.content.data_text import one_line

_MAX_TOGGLE_CHARACTERS = 60
_MAX_INPUT_CHARACTERS = 500


def form_elements(forms: Forms, room: Room, name: str) -> Iterator[Json]:
    """A form that does not fit as a whole is left out."""
    toggles: Json = {"type": "ActionSet", "actions": []}
    if not room.takes(toggles):
        return
    hidden: list[Json] = []
    for number, form in enumerate(forms.forms):
        elements = _hidden(form, f"{name}_{number}")
        toggle = {
            "type": "Action.ToggleVisibility",
            "title": one_line(form.title, _MAX_TOGGLE_CHARACTERS),
            "targetElements": [each["id"] for each in elements],
        }
        if room.takes({"elements": [toggle, *elements]}):
            toggles["actions"].append(toggle)
            hidden += elements
    if hidden:
        yield toggles
        yield from hidden


def _hidden(form: Form, name: str) -> list[Json]:
    # It is the default, and yet inputs were left out in channels: MicrosoftDocs/msteams-docs#9291.
    action = {**action_element(form.action, form.id), "associatedInputs": "auto"}
    sent = {"type": "ActionSet", "id": name, "actions": [action]}
    return [{**element, "isVisible": False} for element in (*map(_input, form.inputs), sent)]


def _input(shown: Input) -> Json:
    # The id is the field of the press's data.
    drawn: Json = {"id": shown.name, "label": one_line(shown.label) or NOTHING, "value": shown.value}
    if not shown.choices:
        return {"type": "Input.Text", **drawn, "maxLength": _MAX_INPUT_CHARACTERS}
    choices = [{"title": one_line(each.title) or NOTHING, "value": each.value} for each in shown.choices]
    return {"type": "Input.ChoiceSet", **drawn, "choices": choices}
