"""Activities as a channel sends them."""

from __future__ import annotations

import uuid
from typing import Any


def an_activity(service_url: str, **more: Any) -> dict[str, Any]:
    """Of Ann, in the Emulator unless `more` says otherwise."""
    return {
        "id": str(uuid.uuid4()),
        "channelId": "emulator",
        "serviceUrl": service_url,
        "from": {"id": "29:ann", "name": "Ann"},
        "recipient": {"id": "28:bot", "name": "Bricks"},
        "conversation": {"id": "c1"},
        **more,
    }


def a_message(service_url: str, text: str, **more: Any) -> dict[str, Any]:
    return an_activity(service_url, **{"type": "message", "text": text, **more})
