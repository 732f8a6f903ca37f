"""What a log says to its reader, taken out before a model reads it. Pure.

It is a second line of defence: what is not recognised is still data in a JSON string, and the guard rails hold whatever
a model answers.
"""

from __future__ import annotations

import re

REMOVED_INSTRUCTION = "[words to the reader removed]"

_MAX_LINE_CHARACTERS = 2_000
_ACTIONS = r"(?-i:\b(?:RETRY(?:_WITH_PARAMS)?|ESCALATE(?:_EMAIL)?|SKIP)\b)"
_ADDRESSES_READER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|guideline|above|previous|prior)s?\b"
    r"|\b(?:system|developer) (?:prompt|message|instruction)s?\b|\bnew instructions?\b"
    r"|\bnote to (?:the |any )?(?:ai|assistant|model|llm|agent)s?\b"
    r"|\b(?:you are|act as|pretend to be|as) (?:now )?(?:an? )?(?:ai|assistant|language model|llm|chatbot)\b"
    r"|\b(?:ai|llm|gpt|chatgpt|assistant|copilot)s?\b.{0,40}\b(?:must|should|shall|please|has to|have to)\b"
    rf"|\b(?:respond|reply|answer|return|output|decide|choose|classify|mark|decision)\b.{{0,60}}{_ACTIONS}"
    r"|\"(?:decision|suggested_params)\"\s{0,5}:"
    r"|<\|(?:im_start|im_end|system|endoftext)|\[/?inst\]|</?(?:system|instructions?|data)>",
    re.IGNORECASE,
)


def without_instructions(text: str) -> tuple[str, bool]:
    """The text with nothing of a line after the first such words, and whether there were any."""
    lines = [line[:_MAX_LINE_CHARACTERS] for line in text.split("\n")]
    kept = [_kept(line) for line in lines]
    return "\n".join(kept), kept != lines


def _kept(line: str) -> str:
    found = _ADDRESSES_READER.search(line)
    return line if found is None else line[: found.start()] + REMOVED_INSTRUCTION
