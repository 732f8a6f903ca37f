"""When two failures are the same."""

from __future__ import annotations

import hashlib

from app.jobs.runs.causing_error import normalised_error
from app.jobs.runs.run_failure import RunFailure


def error_fingerprint(failure: RunFailure) -> str:
    """The same for failures with the same normalised error and codes, of whichever job; a failure that says nothing is
    like others of its own job alone.
    """
    first = failure.tasks[0] if failure.tasks else None
    error = normalised_error(first.error or first.message) if first is not None else ""
    cluster = first.cluster.code if first is not None and first.cluster is not None else ""
    code = first.termination_code if first is not None else failure.termination_code
    own = "" if error or cluster else str(failure.job_id)
    return hashlib.sha256("\n".join((code, cluster, error, own)).encode("utf-8", "replace")).hexdigest()[:24]
