"""Training data for a model that decides about failed jobs, from decisions whose outcome is known.

Chat JSONL, UTF-8 with a byte order mark: https://learn.microsoft.com/azure/ai-foundry/openai/how-to/fine-tuning
"""

from __future__ import annotations

import codecs
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from app.common.json_values import items, mapping, text
from app.jobs.decisions.decision import DecisionAction
from app.jobs.history.decision_record import OBSERVED
from app.jobs.history.training_examples import HistoryRow, messages_of, taught_decision
from app.jobs.runs.causing_error import normalised_error

MIN_EXAMPLES: Final = 10
MAX_FILE_BYTES: Final = 512 * 1024 * 1024 - 1
_MAX_HISTORY_BYTES = 512 * 1024 * 1024
_MAX_EXAMPLES = 5_000
# No decision is taught more than this many times as often as the rarest one.
_MAX_RATIO = 3


class TrainingDataError(Exception):
    """No training data was written; its text is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What was written. `examples_by_decision` has the decisions that are taught; `left_out` counts rows of the history
    that teach nothing, or that would have tipped the balance.
    """

    path: Path
    examples: int
    examples_by_decision: Mapping[str, int]
    left_out: int


def prepare_training_data(run_history_file: str | Path, output_file: str | Path) -> TrainingData:
    """`run_history_file` is what `job-watch history --format json` writes. Replaces `output_file`.

    A decision is taught as it was if the run succeeded afterwards, and as an escalation if its retry failed. Decisions
    that a person called wrong, and those of a second strategy, are not taught. Raises `TrainingDataError`.
    """
    rows = _read(Path(run_history_file))
    taught = [row for row in rows if _is_taught(row)]
    if len(taught) < MIN_EXAMPLES:
        raise TrainingDataError(
            f"Training takes at least {MIN_EXAMPLES} decisions with a known outcome; the history has {len(taught)} "
            f"of {len(rows)}."
        )
    chosen = _balanced(taught)
    lines = [json.dumps({"messages": messages_of(row)}) for row in chosen]
    content = codecs.BOM_UTF8 + "".join(f"{line}\n" for line in lines).encode("ascii")
    if len(content) > MAX_FILE_BYTES:
        raise TrainingDataError("The training data would be larger than 512 MB.")
    path = Path(output_file)
    _write(path, content)
    return TrainingData(
        path, len(chosen), Counter(taught_decision(row).value for row in chosen), len(rows) - len(chosen)
    )


def _read(path: Path) -> list[HistoryRow]:
    try:
        if path.stat().st_size > _MAX_HISTORY_BYTES:
            raise TrainingDataError(f"{path} is larger than 512 MB; take a shorter time of the history.")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be read: {error.strerror or type(error).__name__}.") from error
    except (ValueError, RecursionError) as error:
        raise TrainingDataError(f"{path} is not JSON; `job-watch history --format json` writes it.") from error
    if not isinstance(found, list):
        raise TrainingDataError(f"{path} is not one JSON list; `job-watch history --format json` writes it.")
    adapter = TypeAdapter(HistoryRow)
    rows = []
    for number, row in enumerate(found, start=1):
        try:
            rows.append(adapter.validate_python(row))
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, each["loc"])) or "the row" for each in error.errors()[:5])
            raise TrainingDataError(f"Row {number} of {path} is no decision: see {fields}.") from None
    return rows


def _is_taught(row: HistoryRow) -> bool:
    is_known = row.outcome in {"succeeded", "failed"} and row.wrong_diagnosis <= 0
    return is_known and row.strategy != OBSERVED and bool(row.error.strip() or row.termination_code.strip())


def _balanced(rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """Newest first of each decision, different errors before repeated ones, the decisions in turn. More than the ratio
    allows only to reach the least number.
    """
    classes: dict[DecisionAction, list[HistoryRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.key, reverse=True):
        classes[taught_decision(row)].append(row)
    in_turn = zip_longest(*(_different_first(classes[action]) for action in DecisionAction if action in classes))
    order = [row for each in in_turn for row in each if row is not None]
    most = _MAX_RATIO * min(len(rows) for rows in classes.values())
    counts: Counter[DecisionAction] = Counter()
    chosen: list[HistoryRow] = []
    spare: list[HistoryRow] = []
    for row in order:
        action = taught_decision(row)
        (chosen if counts[action] < most else spare).append(row)
        counts[action] += 1
    return (chosen + spare[: max(0, MIN_EXAMPLES - len(chosen))])[:_MAX_EXAMPLES]


def _different_first(rows: Iterable[HistoryRow]) -> list[HistoryRow]:
    seen: Counter[str] = Counter()
    ranked = []
    for row in rows:
        error = normalised_error(row.error)
        ranked.append((seen[error], row))
        seen[error] += 1
    return [row for _, row in sorted(ranked, key=lambda each: each[0])]


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise TrainingDataError(f"{path} cannot be written: {error.strerror or type(error).__name__}.") from error


def check_training_file(path: Path) -> int:
    """The number of its examples. Raises `TrainingDataError` where the service would refuse the file."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise TrainingDataError(f"{path} is larger than 512 MB.")
        with path.open(encoding="utf-8-sig") as lines:
            examples = 0
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    _check_example(path, number, line)
                    examples += 1
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be read: {error.strerror or type(error).__name__}.") from error
    except UnicodeError as error:
        raise TrainingDataError(f"{path} is not UTF-8.") from error
    if examples < MIN_EXAMPLES:
        raise TrainingDataError(f"{path} has {examples} examples; training takes at least {MIN_EXAMPLES}.")
    return examples


def _check_example(path: Path, number: int, line: str) -> None:
    try:
        messages = [mapping(each) for each in items(mapping(json.loads(line)).get("messages"))]
    except (ValueError, RecursionError):
        messages = []
    if not any(text(each.get("role")) == "assistant" and text(each.get("content")) for each in messages):
        raise TrainingDataError(f"Line {number} of {path} is no chat with an answer.")
