"""From the start of the process to the first visible sign and the first answer, with bytecode and without."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.load_records import ConversationType, LoadPlan
from benchmarks.measure import Effort, MeasuredFigures
from benchmarks.process import ROOT, Fakes, Subject, running

_CONVERSATION_TYPES: tuple[tuple[ConversationType, str], ...] = (("personal", ""), ("groupChat", "_group"))


def cold(subject: Subject, fakes: Fakes, effort: Effort) -> MeasuredFigures:
    """Medians. One to one the pacing puts a second between sign and answer; in a group chat nothing does."""
    measured: dict[str, float] = {}
    _start(subject, fakes, "groupChat", {})  # so that bytecode and the disk's cache are there
    for conversation_type, suffix in _CONVERSATION_TYPES:
        starts = [_start(subject, fakes, conversation_type, {}) for _ in range(effort.cold_starts)]
        measured |= _medians("cold", suffix, starts)
    if effort.without_bytecode:
        measured |= _without_bytecode(subject, fakes, effort)
    return MeasuredFigures(measured)


def _without_bytecode(subject: Subject, fakes: Fakes, effort: Effort) -> dict[str, float]:
    """As on a read-only Function App package: only Python's own library is compiled."""
    measured: dict[str, float] = {}
    with TemporaryDirectory(prefix="bench-bytecode-") as cache:
        _start(subject, fakes, "groupChat", {"PYTHONPYCACHEPREFIX": cache})
        for package_root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT)):
            shutil.rmtree(Path(cache) / package_root.lstrip("/"), ignore_errors=True)
        uncompiled = {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": "1"}
        for conversation_type, suffix in _CONVERSATION_TYPES:
            starts = [_start(subject, fakes, conversation_type, uncompiled) for _ in range(effort.cold_starts)]
            measured |= _medians("bare", suffix, starts)
    return measured


def _start(
    subject: Subject, fakes: Fakes, conversation_type: ConversationType, environment: Mapping[str, str]
) -> tuple[float, float]:
    with running(subject, fakes, environment=environment, wait=False) as bot:
        turn = bot.run(
            LoadPlan("", "cold", conversation_type=conversation_type, connect_for=60.0, turn_limit=60.0)
        ).turns[0]
    assert turn.final is not None
    return (turn.sends[0].arrived - bot.started) * 1000, (turn.final.arrived - bot.started) * 1000


def _medians(kind: str, suffix: str, starts: list[tuple[float, float]]) -> dict[str, float]:
    return {
        f"{kind}_sign{suffix}": median(sign for sign, _ in starts),
        f"{kind}_answer{suffix}": median(answer for _, answer in starts),
    }
