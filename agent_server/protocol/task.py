"""The task types of an agent server, by MLflow's names."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """`NONE`: any JSON object in, any out."""

    RESPONSES = "agent/v1/responses"
    CHAT = "agent/v1/chat"
    CHAT_AGENT = "agent/v2/chat"
    NONE = ""
