"""The settings of the agent: its prompt, its tools, its memory and the length of its answers."""

from __future__ import annotations

from typing import ClassVar

from app.settings.section import Section, setting

DEFAULT_SYSTEM_PROMPT = (
    "You are a helpful assistant for people who work with data in Databricks. "
    "Answer in the language of the question, briefly, in Markdown. Say so when you do not know."
)


class AgentSettings(Section):
    title: ClassVar[str] = "The agent: its prompt, tools and memory"

    system_prompt: str = setting(
        "SYSTEM_PROMPT",
        default=DEFAULT_SYSTEM_PROMPT,
        left_out="a short prompt for people who work with data",
        description="what the model is told before every conversation",
    )
    offers_tools: bool = setting(
        "DATABRICKS_TOOLS",
        default=True,
        description="false to offer the model no tools; a model that refuses them is noticed without this",
    )
    max_answer_characters: int = setting(
        "MAX_ANSWER_CHARACTERS",
        default=100_000,
        ge=1000,
        le=1_000_000,
        description="the length at which an answer is cut off and marked so, in characters (1000 to 1000000)",
    )
    history_token_budget: int = setting(
        "HISTORY_TOKEN_BUDGET",
        default=3000,
        ge=0,
        le=1_000_000,
        description="the part of the conversation that the model is given again, in tokens (0 to 1000000)",
    )
