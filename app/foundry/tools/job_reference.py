"""Which job or run is meant by what a model wrote: a name, an id, or a URL of Databricks. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.foundry.tools.foundry_tool import RefusedCallError

MAX_CHARACTERS = 2_000
"""Of a name or a URL; what is longer is neither."""

_URL = re.compile(r"https?://[^\s<>\"'`]{1,1000}", re.IGNORECASE)
# jobs/7, jobs/7/runs/8, and the older #job/7/run/8; a run alone is at runs/8.
_JOB_IN_URL = re.compile(r"\bjobs?/(\d{1,18})(?!\d)", re.ASCII)
_RUN_IN_URL = re.compile(r"\bruns?/(\d{1,18})(?!\d)", re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_NAMED_NUMBER = re.compile(r"\b(job|run)(?:[ _-]?id)?\s?(?:is|[:=#])?\s?(\d{1,18})(?!\d)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class JobReference:
    """`number` is the id of a job or of a run, whichever there is. `name` may be a sentence with a name in it; beside
    an id the name is tried first.
    """

    job_id: int = 0
    run_id: int = 0
    number: int = 0
    name: str = ""


def job_reference(asked: str, workspace_host: str) -> JobReference:
    """`workspace_host` is `https://<workspace>`: a URL of another one is refused, and none is ever opened. Raises
    `RefusedCallError`.
    """
    asked = " ".join(asked.split())
    if (url := _URL.search(asked)) is not None:
        if _host(url[0]) != _host(workspace_host):
            raise RefusedCallError(f"This URL is not of {workspace_host}, whose jobs can be asked about.")
        if (found := _in_path(url[0])) is None:
            raise RefusedCallError("This URL has no id of a job or of a run in it.")
        return found
    if (found := _in_path(asked)) is not None:
        return found
    if _NUMBER.fullmatch(asked):
        return JobReference(number=int(asked))
    numbers = {kind.lower(): int(number) for kind, number in _NAMED_NUMBER.findall(asked)}
    if numbers:
        name = "" if _NAMED_NUMBER.fullmatch(asked) else asked
        return JobReference(job_id=numbers.get("job", 0), run_id=numbers.get("run", 0), name=name)
    return JobReference(name=asked)


def _in_path(path: str) -> JobReference | None:
    job, run = _JOB_IN_URL.search(path), _RUN_IN_URL.search(path)
    if job is None and run is None:
        return None
    return JobReference(job_id=int(job[1]) if job else 0, run_id=int(run[1]) if run else 0)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
