"""What the frames of a stream come to, as its trace shows them: the Response object, or the text of the pieces."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


class StreamOutput:
    def __init__(self) -> None:
        self._last: JsonObject = {}
        self._text: list[str] = []

    def add(self, frame: JsonObject) -> None:
        self._last = frame
        kind = frame.get("type")
        if kind is None:
            self._text.append(_text_of(frame))
        elif kind == "response.output_text.delta":
            # For a stream that ends before its response is complete.
            self._text.append(frame["delta"])

    @property
    def value(self) -> JsonObject | None:
        """None where nothing came."""
        if response := self._last.get("response"):
            return dict(response)
        text = "".join(self._text)
        return {"choices": [{"message": {"role": "assistant", "content": text}}]} if text else self._last or None


def _text_of(frame: JsonObject) -> str:
    """Of a chunk of Chat Completions, or of a ChatAgent."""
    choices = frame.get("choices")
    delta = choices[0].get("delta") if isinstance(choices, list) and choices else frame.get("delta")
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""
