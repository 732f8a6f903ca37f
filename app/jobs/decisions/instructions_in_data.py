"""What a log says to its reader, taken out before a model reads it. Pure.

It is a second line of defence: what is not recognised is still data in a JSON string, and the guard rails hold whatever
a model answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

REMOVED_INSTRUCTION = "[words to the reader removed]"

_MAX_LINE_CHARACTERS = 2_000
_NEARBY_CHARACTERS = 60
_ADDRESSES_READER = re.compile(
    r"\b(?:system|developer) (?:prompt|message|instruction)s?\b|\bnew instructions?\b"
    r"|\bnote to (?:the |any )?(?:ai|assistant|model|llm|agent)s?\b"
    r"|\b(?:you are|act as|pretend to be|as) (?:now )?(?:an? )?(?:ai|assistant|language model|llm|chatbot)\b"
    r"|\"decision\"\s{0,5}:|\bsuggested_params\b|\b(?:assistant|chatbot):\s"
    r"|<\|(?:im_start|im_end|system|endoftext)|\[/?inst\]|</?(?:system|instructions?|data)>",
    re.IGNORECASE,
)
# The second stands a few words behind the first.
_WORDS_TOGETHER = (
    (
        re.compile(r"\b(?:ignore|disregard|forget|override)\b", re.IGNORECASE),
        re.compile(r"\b(?:instruction|prompt|rule|guideline|above|previous|prior)s?\b", re.IGNORECASE),
    ),
    (
        re.compile(r"\b(?:ai|llm|gpt|chatgpt|assistant|copilot)s?\b", re.IGNORECASE),
        re.compile(r"\b(?:must|should|shall|please|has to|have to)\b", re.IGNORECASE),
    ),
    (
        re.compile(r"\b(?:respond|reply|answer|return|output|decide|choose|classify|mark|decision)\b", re.IGNORECASE),
        re.compile(r"\b(?:RETRY|RETRY_WITH_PARAMS|ESCALATE|ESCALATE_EMAIL|SKIP)\b"),
    ),
)


def without_instructions(text: str) -> tuple[str, bool]:
    """The text with nothing of a line after the first such words, and whether there were any."""
    lines = [line[:_MAX_LINE_CHARACTERS] for line in text.split("\n")]
    kept = [_kept(line) for line in lines]
    return "\n".join(kept), kept != lines


def _kept(line: str) -> str:
    start = min(_instructions_in(line), default=None)
    return line if start is None else line[:start] + REMOVED_INSTRUCTION


def _instructions_in(line: str) -> Iterator[int]:
    if found := _ADDRESSES_READER.search(line):
        yield found.start()
    for first, second in _WORDS_TOGETHER:
        for found in second.finditer(line):
            if before := first.search(line, max(0, found.start() - _NEARBY_CHARACTERS), found.start()):
                yield before.start()
                break
