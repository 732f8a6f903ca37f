"""The charts of the dashboard, as inline SVG. Pure. What they show stands in a table beside them too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from app.jobs.history.dashboard_style import COLOURS

_WIDTH, _HEIGHT = 1000, 240
_LEFT, _TOP, _BOTTOM = 44, 12, 28
_MAX_LABELS = 12
_ROW_HEIGHT, _NAME_WIDTH, _BAR_WIDTH = 34, 190, 600


def trend_chart(columns: Sequence[tuple[str, Sequence[tuple[str, int]]]], title: str) -> str:
    """A stacked column for each label; its parts are a colour of `COLOURS` and a count."""
    most = _round_up(max((sum(count for _, count in parts) for _, parts in columns), default=0))
    height = _HEIGHT - _TOP - _BOTTOM
    step = (_WIDTH - _LEFT) / max(1, len(columns))
    width = min(48.0, step * 0.7)
    drawn = []
    for tick in sorted({0, most // 2, most}):
        y = _TOP + height - height * tick / most
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    every = -(-len(columns) // _MAX_LABELS) or 1
    for number, (label, parts) in enumerate(columns):
        middle = _LEFT + step * (number + 0.5)
        if number % every == 0:
            drawn.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
        y = float(_TOP + height)
        for colour, count in parts:
            if count:
                part = height * count / most
                y -= part
                drawn.append(
                    f'<rect x="{middle - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{part:.1f}" '
                    f'style="fill:{COLOURS[colour]}"><title>{escape(label)}: {count}</title></rect>'
                )
    return _svg(_HEIGHT, title, drawn)


def bars_chart(bars: Sequence[tuple[str, int | None, str, str]], title: str) -> str:
    """A bar from 0 to 100 for each name, with a note and a colour of `COLOURS`; None is not known."""
    drawn = []
    for number, (name, percent, note, colour) in enumerate(bars):
        y = number * _ROW_HEIGHT
        middle = y + _ROW_HEIGHT / 2 + 4
        drawn.append(f'<text class="strong" x="0" y="{middle:.0f}">{escape(name)}</text>')
        drawn.append(f'<rect class="track" x="{_NAME_WIDTH}" y="{y + 9}" width="{_BAR_WIDTH}" height="16" rx="4"/>')
        if percent:
            width = _BAR_WIDTH * percent / 100
            drawn.append(
                f'<rect x="{_NAME_WIDTH}" y="{y + 9}" width="{width:.1f}" height="16" rx="4" '
                f'style="fill:{COLOURS[colour]}"/>'
            )
        told = "no known outcome" if percent is None else f"{percent} % ({note})"
        drawn.append(f'<text x="{_NAME_WIDTH + _BAR_WIDTH + 12}" y="{middle:.0f}">{escape(told)}</text>')
    return _svg(len(bars) * _ROW_HEIGHT, title, drawn)


def _svg(height: int, title: str, drawn: Sequence[str]) -> str:
    name = escape(title)
    opening = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{name}"><title>{name}</title>'
    return f'<div class="wide">{opening}{"".join(drawn)}</svg></div>'


def _round_up(most: int) -> int:
    """To a number whose half is whole too."""
    size = 2
    while size < most:
        size = {"1": 2, "2": 5, "5": 10}[str(size)[0]] * size // int(str(size)[0])
    return size if size % 2 == 0 else size + 1
