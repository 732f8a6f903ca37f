"""Every capability that brings tools to the agent."""

from __future__ import annotations

from app.config import CoreSettings
from app.tools.clock import ClockTools
from app.tools.registry import ToolProvider


def tool_providers(settings: CoreSettings) -> list[ToolProvider]:
    return [ClockTools()] if settings.agent.offers_tools else []
