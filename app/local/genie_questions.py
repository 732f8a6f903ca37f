"""The questions that the stand-in's Genie space knows, matched by their words: a measure, by something, some time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

_ITEMS = frozenset({"lineitem"})


@dataclass(frozen=True, slots=True)
class Measure:
    """`expression` is right on one row for each of `tables`, and on more of them only where it `counts_once`."""

    name: str
    words: str
    expression: str
    tables: frozenset[str] = frozenset()
    counts_once: bool = True


@dataclass(frozen=True, slots=True)
class Dimension:
    """`follows_time`: rows are in the order of time, not of the measure."""

    name: str
    words: str
    expression: str
    tables: frozenset[str] = frozenset()
    follows_time: bool = False


_Named = TypeVar("_Named", Measure, Dimension)

_REVENUE = Measure(
    "revenue",
    r"revenues?|sales|turnover|umsatz|earn(?:ed|ings)?|sold for",
    "CAST(SUM(l_extendedprice * (1 - l_discount)) AS DECIMAL(18, 2))",
    _ITEMS,
)
MEASURES = (
    Measure(
        "average_order_value",
        r"(?:average|mean|typical) (?:order )?(?:value|size|order)|order value",
        "CAST(AVG(o_totalprice) AS DECIMAL(18, 2))",
        counts_once=False,
    ),
    Measure("average_discount", r"discounts?", "ROUND(AVG(l_discount), 4)", _ITEMS),
    Measure(
        "returned_items",
        r"returned(?: items)?|items returned|return rate",
        "CAST(SUM(CASE WHEN l_returnflag = 'R' THEN l_quantity ELSE 0 END) AS BIGINT)",
        _ITEMS,
    ),
    _REVENUE,
    Measure("items_sold", r"quantity|quantities|units|items", "CAST(SUM(l_quantity) AS BIGINT)", _ITEMS),
    Measure("orders", r"orders|bestellungen", "COUNT(DISTINCT o_orderkey)"),
    Measure("customers", r"(?:how many|number of|count of) (?:active )?customers", "COUNT(DISTINCT o_custkey)"),
)

DIMENSIONS = (
    Dimension(
        "month",
        r"by month|monthly|(?:per|each|every) month|month (?:by|over) month|over time|develop(?:ed|ment)?|trend",
        "CAST(date_trunc('MONTH', o_orderdate) AS DATE)",
        follows_time=True,
    ),
    Dimension(
        "quarter",
        r"(?:by|per|each|every) quarter|quarterly",
        "CAST(date_trunc('QUARTER', o_orderdate) AS DATE)",
        follows_time=True,
    ),
    Dimension("year", r"(?:by|per|each|every) year|yearly|annual(?:ly)?", "YEAR(o_orderdate)", follows_time=True),
    Dimension("region", r"regions?|continents?", "r_name", frozenset({"customer", "nation", "region"})),
    Dimension("country", r"countr(?:y|ies)|nations?", "n_name", frozenset({"customer", "nation"})),
    Dimension("segment", r"(?:market )?segments?|industr(?:y|ies)", "c_mktsegment", frozenset({"customer"})),
    Dimension("priority", r"priorit(?:y|ies)", "o_orderpriority"),
    Dimension("ship_mode", r"ship(?:ping)?(?: modes?)?|modes? of transport", "l_shipmode", _ITEMS),
    Dimension("brand", r"brands?", "p_brand", _ITEMS | {"part"}),
    Dimension("product", r"products?|parts?", "p_name", _ITEMS | {"part"}),
    Dimension("supplier", r"suppliers?|vendors?", "s_name", _ITEMS | {"supplier"}),
    Dimension("customer", r"(?<!how many )(?<!number of )customers?|buyers?", "c_name", frozenset({"customer"})),
)

_JOINS = {
    "lineitem": "JOIN samples.tpch.lineitem ON l_orderkey = o_orderkey",
    "customer": "JOIN samples.tpch.customer ON c_custkey = o_custkey",
    "nation": "JOIN samples.tpch.nation ON n_nationkey = c_nationkey",
    "region": "JOIN samples.tpch.region ON r_regionkey = n_regionkey",
    "part": "JOIN samples.tpch.part ON p_partkey = l_partkey",
    "supplier": "JOIN samples.tpch.supplier ON s_suppkey = l_suppkey",
}

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_YEAR = re.compile(r"\b(?:in|of|for|during|only)? ?(199[0-9])\b")
_MONTH = re.compile(rf"\b({'|'.join(_MONTHS)})\b")
_TOP = re.compile(r"\b(?:top|biggest|largest|highest|most|leading)\b(?: (\d{1,3}))?")
_BEST = re.compile(r"\bbest\b(?: (\d{1,3}))?")
_DATA_WORDS = re.compile(
    r"\b(?:how many|how much|(?:top|best) \d+|by (?:month|quarter|year|region|country|segment|\w+ instead)"
    r"|average|in total|total (?:of|number)|(?:in|for|only) 199[0-9])\b"
)
_MANY_VALUES = frozenset({"product", "supplier", "customer"})
_SAID_AT_MOST = 10
_MAX_QUESTION = 2000


@dataclass(frozen=True, slots=True)
class KnownQuestion:
    """What a question asks for; `top` is how many rows at most, 0 for all of them."""

    measure: Measure
    dimension: Dimension | None = None
    year: int | None = None
    month: int | None = None
    top: int = 0

    @property
    def title(self) -> str:
        words = [self.measure.name.replace("_", " ").capitalize()]
        if self.dimension:
            words.append(f"by {self.dimension.name.replace('_', ' ')}")
        if self.month and self.year:
            words.append(f"in {_MONTHS[self.month - 1].capitalize()} {self.year}")
        elif self.year:
            words.append(f"in {self.year}")
        return " ".join(words)

    @property
    def sql(self) -> str:
        by = self.dimension
        chosen = [f"{by.expression} AS {by.name}"] if by else []
        lines = [
            "SELECT",
            ",\n".join(f"  {one}" for one in [*chosen, f"{self.measure.expression} AS {self.measure.name}"]),
        ]
        lines.append("FROM samples.tpch.orders")
        needed = self.measure.tables | (by.tables if by else frozenset())
        lines += [join for table, join in _JOINS.items() if table in needed]
        if self.year and self.month:
            lines.append(f"WHERE YEAR(o_orderdate) = {self.year} AND MONTH(o_orderdate) = {self.month}")
        elif self.year:
            lines.append(f"WHERE YEAR(o_orderdate) = {self.year}")
        if by:
            lines.append(f"GROUP BY {by.expression}")
            lines.append(f"ORDER BY {by.name if by.follows_time else f'{self.measure.name} DESC, {by.name}'}")
        if self.top:
            lines.append(f"LIMIT {self.top}")
        return "\n".join(lines)

    @property
    def follow_ups(self) -> tuple[str, ...]:
        """Questions that the space knows as well."""
        what = self.measure.name.replace("_", " ")
        asked = self.dimension.name if self.dimension else ""
        offered = [f"Show {what} by {by}" for by in ("region", "quarter", "segment") if by != asked]
        if self.measure is _REVENUE and asked != "customer":
            offered.append("Who are the top 5 customers by revenue?")
        return tuple(offered[-3:])


@dataclass(frozen=True, slots=True)
class Clarification:
    """A question that Genie asks back; what is answered completes `dimension` and `top`."""

    text: str
    dimension: Dimension
    top: int


def known_question(
    text: str, earlier: KnownQuestion | Clarification | None = None
) -> KnownQuestion | Clarification | Literal["unknown"]:
    """`earlier` is what the conversation was about: "by region instead" asks the same of something else."""
    words = _words(text)
    measure = _first(MEASURES, words)
    dimension = _first(DIMENSIONS, words)
    year = _YEAR.search(words)
    month = _MONTH.search(words) if year else None
    top = _TOP.search(words)
    best = _BEST.search(words)
    limit = int((top and top[1]) or (best and best[1]) or (_SAID_AT_MOST if top or best else 0))
    if measure is None and best and dimension:
        name = dimension.name.replace("_", " ")
        return Clarification(f"Best {name} by revenue, or by number of orders?", dimension, limit or _SAID_AT_MOST)
    if measure is None and top and dimension:
        measure = _REVENUE
    if measure is None and (earlier is None or not (dimension or year)):
        return "unknown"
    if isinstance(earlier, Clarification):
        if measure is None:
            return "unknown"
        dimension, limit = dimension or earlier.dimension, limit or earlier.top
        asked = KnownQuestion(measure, dimension)
    elif measure is None:
        assert earlier is not None
        asked = replace(earlier, dimension=dimension or earlier.dimension, top=0)
    else:
        asked = KnownQuestion(measure, dimension)
    if year:
        asked = replace(asked, year=int(year[1]), month=_MONTHS.index(month[1]) + 1 if month else None)
    if not limit and asked.dimension and asked.dimension.name in _MANY_VALUES:
        limit = _SAID_AT_MOST
    if asked.dimension and "lineitem" in asked.dimension.tables and not asked.measure.counts_once:
        return "unknown"
    return replace(asked, top=limit)


def looks_like_data(text: str) -> bool:
    """Whether the scripted model asks Genie, rather than talk."""
    words = _words(text)
    return (
        "simulate:" in words
        or _DATA_WORDS.search(words) is not None
        or _first(MEASURES, words) is not None
        or (_first(DIMENSIONS, words) is not None and (_TOP.search(words) or _BEST.search(words)) is not None)
    )


def _words(text: str) -> str:
    return " ".join(text[:_MAX_QUESTION].lower().split())


def _first(known: Sequence[_Named], words: str) -> _Named | None:
    return next((one for one in known if re.search(rf"\b(?:{one.words})\b", words)), None)
