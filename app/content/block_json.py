"""Blocks to JSON and back, as stored messages, checkpoints and queue messages hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import core_schema

if TYPE_CHECKING:
    from app.content.blocks import Block

MAX_JSON_CHARACTERS = 400_000
"""All blocks of one message. `block_limits.within_limits` keeps each far below it."""

# https://tc39.es/ecma262/#sec-number.max_safe_integer
_MAX_EXACT_INTEGER = 2**53 - 1


class BlocksUnreadableError(ValueError):
    """Not the JSON of blocks, or of a version that this one does not know."""


@cache
def _adapter() -> TypeAdapter[tuple[Block, ...]]:
    # Built for the first block: it takes longer than an answer without blocks should wait.
    from app.content.blocks import Block  # noqa: PLC0415

    return TypeAdapter(tuple[Annotated[Block, Field(discriminator="kind")], ...])


def blocks_to_json(blocks: Sequence[Block], max_characters: int = MAX_JSON_CHARACTERS) -> str:
    """Blocks that do not fit are left out, but an image that does not leaves its words. No blocks are no text."""
    written: list[str] = []
    left = max_characters - len("[]")
    for block in blocks:
        text = _adapter().dump_json((block,)).decode()[1:-1]
        if len(text) >= left and (smaller := _without_image(block)) is not None:
            text = _adapter().dump_json((smaller,)).decode()[1:-1]
        if len(text) + len(",") <= left:
            written.append(text)
            left -= len(text) + len(",")
    return f"[{','.join(written)}]" if written else ""


def _without_image(block: Block) -> Block | None:
    if block.kind == "chart" and block.image is not None:
        return replace(block, image=None)
    return replace(block, data="") if block.kind == "image" and block.data else None


def blocks_from_json(text: str) -> tuple[Block, ...]:
    """Raises `BlocksUnreadableError`. No text at all is no blocks."""
    if not text:
        return ()
    if len(text) > MAX_JSON_CHARACTERS:
        raise BlocksUnreadableError(f"more than {MAX_JSON_CHARACTERS} characters")
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        # Its message quotes the values, which people may have written.
        raise BlocksUnreadableError(f"{error.error_count()} errors, first at {error.errors()[0]['loc']}") from None


def blocks_for_programs(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """For readers of JSON that know floats alone, such as a browser: longer integers are text, as a table allows."""
    return [_with_exact_numbers(each) for each in _jsonable(tuple(blocks))]


def _with_exact_numbers(value: Any) -> Any:  # noqa: ANN401 - any JSON
    match value:
        case dict():
            return {name: _with_exact_numbers(each) for name, each in value.items()}
        case list():
            return [_with_exact_numbers(each) for each in value]
        case int() if abs(value) > _MAX_EXACT_INTEGER:
            return str(value)
    return value


def _validated(value: Any) -> tuple[Block, ...]:  # noqa: ANN401 - any JSON
    return _adapter().validate_python(value) if value else ()


def _jsonable(blocks: tuple[Block, ...]) -> list[Any]:
    return list(_adapter().dump_python(blocks, mode="json")) if blocks else []


class _BuiltWhenUsed:
    """Keeps the schema of blocks out of the schema around it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401
        serialization = core_schema.plain_serializer_function_ser_schema(_jsonable)
        return core_schema.no_info_plain_validator_function(_validated, serialization=serialization)


if TYPE_CHECKING:
    Blocks = tuple[Block, ...]
else:
    Blocks = Annotated[tuple, _BuiltWhenUsed()]
"""For a field of what pydantic reads and writes."""
