"""Why work was cancelled is known to whoever is cancelled."""

from __future__ import annotations

import pytest

from app.common.cancellation import Cancellation, CancelReason


def test_the_first_reason_stays() -> None:
    cancellation = Cancellation()
    cancellation.cancel(CancelReason.STOPPED)
    cancellation.cancel(CancelReason.HANDED_OVER)
    assert cancellation.reason is CancelReason.STOPPED


@pytest.mark.parametrize(
    ("reason", "goes_on"),
    [
        (None, False),
        (CancelReason.STOPPED, False),
        (CancelReason.TIMED_OUT, False),
        (CancelReason.HANDED_OVER, True),
        (CancelReason.LEASE_LOST, True),
    ],
)
def test_work_goes_on_elsewhere_only_where_another_worker_continues_the_turn(
    reason: CancelReason | None, goes_on: bool
) -> None:
    cancellation = Cancellation()
    if reason is not None:
        cancellation.cancel(reason)
    assert cancellation.goes_on_elsewhere is goes_on
