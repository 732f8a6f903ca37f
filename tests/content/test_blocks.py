"""Blocks survive being saved, and are cut to what can be saved."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.agent.events import Answer
from app.content.block_json import (
    MAX_JSON_CHARACTERS,
    BlocksUnreadableError,
    blocks_for_programs,
    blocks_from_json,
    blocks_to_json,
)
from app.content.block_limits import MAX_CELL_CHARACTERS, MAX_IMAGE_CHARACTERS, MAX_ROWS, within_limits
from app.content.blocks import (
    Action,
    Actions,
    ActionStyle,
    Block,
    Cell,
    Chart,
    ChartKind,
    Choice,
    Code,
    Column,
    ColumnType,
    Fact,
    Facts,
    Folded,
    FoldedBlock,
    Form,
    Forms,
    Image,
    Input,
    Link,
    Point,
    Series,
    Table,
    Text,
)
from app.content.citation import Citation

# With halves of surrogate pairs, as a model may write them.
WORDS = st.text(st.characters(), max_size=20)
URLS = st.sampled_from(["https://example.com/a?b=c", "", "https://example.com/" + "x" * 3_000])
LINKS = st.none() | st.builds(Link, WORDS, URLS)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
# A whole PNG of one pixel, what is no PNG, and what is no base64.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGES = st.builds(Image, URLS, WORDS, st.sampled_from(["", PIXEL, "R0lGODlhAQABAAAAACw=", PIXEL + '"']))
CELLS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | NUMBERS | WORDS


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(
        st.lists(st.builds(Column, WORDS, st.sampled_from(ColumnType), st.booleans()), min_size=1, max_size=4)
    )
    rows = draw(st.lists(st.tuples(*[CELLS] * len(columns)), max_size=4))
    total = draw(st.none() | st.integers(len(rows), 10**9))
    return Table(tuple(columns), tuple(rows), total, draw(WORDS), draw(LINKS))


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    points = st.lists(st.builds(Point, WORDS, st.none() | NUMBERS), min_size=1, max_size=4).map(tuple)
    chart = draw(st.sampled_from(ChartKind))
    series = draw(st.lists(st.builds(Series, WORDS, points), min_size=1, max_size=1 if chart is ChartKind.PIE else 3))
    titles = draw(st.tuples(WORDS, WORDS, WORDS))
    sums_up_rest, beside_table = draw(st.booleans()), draw(st.booleans())
    image = draw(st.none() | IMAGES)
    return Chart(chart, tuple(series), *titles, draw(LINKS), image, sums_up_rest, beside_table)


ACTIONS = st.builds(Action, WORDS, WORDS, st.dictionaries(WORDS, WORDS, max_size=3), st.sampled_from(ActionStyle))
FOLDABLE: st.SearchStrategy[FoldedBlock] = st.one_of(
    st.builds(Text, WORDS),
    tables(),
    st.builds(Code, WORDS, WORDS, WORDS),
    st.builds(Facts, st.lists(st.builds(Fact, WORDS, WORDS), max_size=3).map(tuple), WORDS),
)
INPUTS = st.builds(Input, WORDS, WORDS, WORDS, st.lists(st.builds(Choice, WORDS, WORDS), max_size=2).map(tuple))


@st.composite
def forms(draw: st.DrawFn) -> Forms:
    inputs = draw(st.lists(INPUTS, max_size=5, unique_by=lambda each: each.name))
    split = draw(st.integers(0, len(inputs)))
    made = (Form(draw(WORDS), tuple(part), draw(ACTIONS), draw(WORDS)) for part in (inputs[:split], inputs[split:]))
    return Forms(tuple(made))


BLOCKS: st.SearchStrategy[Block] = st.one_of(
    FOLDABLE,
    charts(),
    st.builds(Folded, WORDS, st.lists(FOLDABLE, max_size=2).map(tuple)),
    IMAGES,
    st.builds(Citation, st.integers(0, 99), WORDS, st.none() | URLS, WORDS),
    st.builds(Actions, st.lists(ACTIONS, max_size=3).map(tuple), WORDS),
    forms(),
)


def types_of(value: Any) -> Any:
    """Equal values of different types are different cells: `True == 1 == 1.0`."""
    if isinstance(value, tuple):
        return [types_of(each) for each in value]
    slots = [types_of(getattr(value, field.name)) for field in fields(value)] if hasattr(value, "__slots__") else []
    return [type(value), slots]


@settings(max_examples=50)
@given(st.lists(BLOCKS, max_size=3))
def test_blocks_within_limits_come_back_from_json_as_they_were(blocks: list[Block]) -> None:
    blocks = [within_limits(block) for block in blocks]
    read = blocks_from_json(blocks_to_json(blocks))
    assert read == tuple(blocks)
    assert types_of(read) == types_of(tuple(blocks))


@settings(max_examples=50)
@given(BLOCKS)
def test_what_is_within_limits_is_not_cut_again(block: Block) -> None:
    assert within_limits(within_limits(block)) == within_limits(block)


def test_the_largest_blocks_can_be_saved() -> None:
    long = "\u20ac" * 100_000
    link = Link(long, "https://example.com")
    row: tuple[Cell, ...] = (long,) * 100
    many = tuple(Input(f"{n}{long}", long, long, (Choice(long, long),) * 99) for n in range(100))
    biggest: list[Block] = [
        Text(long),
        Table((Column(long),) * 100, (row,) * 5_000, None, long, link),
        Chart(ChartKind.LINE, (Series(long, (Point(long, 1.0),) * 5_000),) * 50, long, long, long, link),
        Code(long, long, long),
        Facts((Fact(long, long),) * 500, long),
        Image("https://example.com/" + long, long, PIXEL[:-4].ljust(MAX_IMAGE_CHARACTERS, "A")),
        Folded(long, (Text(long), Code(long)) * 20),
        Citation(1, long, "https://example.com/" + long, long),
        Actions((Action(long, long, {f"{n}{long}": long for n in range(100)}),) * 100, long),
        Forms(tuple(Form(long, inputs, Action(long, long, {long: long}), long) for inputs in (many, *((),) * 9))),
    ]
    written = blocks_to_json([within_limits(block) for block in biggest])
    assert len(written) < MAX_JSON_CHARACTERS
    assert len(blocks_from_json(written)) == len(biggest)


def test_inputs_of_one_name_are_refused_and_what_a_cut_makes_equal_is_one_input() -> None:
    button = Action("send", "Send")
    with pytest.raises(ValueError, match="one name"):
        Forms((Form("a", (Input("x", "X"),), button), Form("b", (Input("x", "Y"),), button)))
    long = Form("a", (Input("x" * 200, "X"), Input("x" * 201, "Y")), button)
    cut = within_limits(Forms((long, Form("b", (Input("x" * 202, "Z"),), button))))
    assert isinstance(cut, Forms)
    assert [len(form.inputs) for form in cut.forms] == [1, 0]


def test_a_table_that_is_cut_says_how_many_rows_there_are() -> None:
    rows: tuple[tuple[Cell, ...], ...] = tuple((number,) for number in range(1_000))
    cut = within_limits(Table((Column("n", ColumnType.NUMBER),), rows))
    assert isinstance(cut, Table)
    assert (len(cut.rows), cut.total_rows) == (MAX_ROWS, 1_000)
    assert within_limits(Table((Column("n"),), rows[:3])) == Table((Column("n"),), rows[:3])


def test_a_long_cell_ends_in_an_ellipsis_and_a_long_address_is_left_out() -> None:
    cut = within_limits(Table((Column("n"),), (("x" * 1_000,),), source=Link("all", "https://e.com/" + "x" * 3_000)))
    assert cut == Table((Column("n"),), (("x" * (MAX_CELL_CHARACTERS - 1) + "…",),))


def test_an_image_that_is_no_png_or_too_large_leaves_its_words() -> None:
    header = b64decode(PIXEL)[:16]
    wide, flat, largest = (
        b64encode(header + width.to_bytes(4) + height.to_bytes(4)).decode()
        for width, height in ((1025, 1), (1, 0), (1024, 1024))
    )
    for data in ("", "R0lGODlhAQABAAAAACw=", f"{PIXEL}<", PIXEL + "A" * MAX_IMAGE_CHARACTERS, wide, flat, PIXEL[:20]):
        assert within_limits(Image("", "Orders", data)) == Image("", "Orders")
    for data in (PIXEL, largest, largest.ljust(MAX_IMAGE_CHARACTERS, "A")):
        assert within_limits(Image("", "Orders", data)) == Image("", "Orders", data)


@pytest.mark.parametrize(
    "shape",
    [
        lambda: Table((), ()),
        lambda: Table((Column("a"),), ((1, 2),)),
        lambda: Table((Column("a"),), ((float("nan"),),)),
        lambda: Table((Column("a"),), ((1,), (2,)), total_rows=1),
        lambda: Chart(ChartKind.LINE, ()),
        lambda: Chart(ChartKind.PIE, (Series("a", (Point("x", 1.0),)),) * 2),
        lambda: Chart(ChartKind.LINE, (Series("a", (Point("x", float("inf")),)),)),
    ],
)
def test_a_block_of_no_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        shape()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '[{"text":"no kind"}]',
        '[{"kind":"hologram"}]',
        '[{"kind":"table","columns":[{"name":"a"}],"rows":[[1,2]]}]',
        "[" + " " * MAX_JSON_CHARACTERS + "]",
    ],
)
def test_json_that_is_no_block_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(BlocksUnreadableError) as refusal:
        blocks_from_json(text)
    assert "hologram" not in str(refusal.value)


def test_no_text_is_no_blocks() -> None:
    assert blocks_from_json("") == blocks_from_json("[]") == ()


def test_blocks_that_do_not_fit_are_left_out() -> None:
    short, long = Text("short"), Text("x" * 1_000)
    assert blocks_from_json(blocks_to_json([short, long, short], 500)) == (short, short)
    assert len(blocks_to_json([short] * 100, 500)) <= 500
    assert blocks_to_json([long], 500) == blocks_to_json([]) == ""
    chart = Chart(ChartKind.LINE, (Series("a", (Point("x", None),)),))
    assert blocks_from_json(blocks_to_json([replace(chart, image=Image("", "a", "x" * 1_000))], 500)) == (chart,)
    assert blocks_from_json(blocks_to_json([Image("", "a", "x" * 1_000)], 500)) == (Image("", "a"),)


@settings(max_examples=25)
@given(st.lists(BLOCKS, max_size=2))
def test_blocks_are_a_field_of_what_pydantic_reads_and_writes(blocks: list[Block]) -> None:
    adapter = TypeAdapter(Answer)
    answer = Answer("text", blocks=tuple(within_limits(block) for block in blocks))
    assert adapter.validate_python(adapter.dump_python(answer, mode="json")) == answer
    assert adapter.validate_json(adapter.dump_json(answer)) == answer
    with pytest.raises(ValidationError):
        adapter.validate_python({"text": "", "blocks": [{"kind": "hologram"}]})


def test_programs_that_know_floats_alone_get_every_digit_of_a_long_integer() -> None:
    cells = (2**53 - 1, 2**53, -(2**63), True, 0.5, None, "9")
    table = Table(tuple(Column(f"c{n}", ColumnType.NUMBER) for n in range(len(cells))), (cells,))

    (written,) = blocks_for_programs([table])

    assert written["rows"] == [[2**53 - 1, "9007199254740992", "-9223372036854775808", True, 0.5, None, "9"]]
    assert written["kind"] == "table"
    assert blocks_for_programs([]) == []
