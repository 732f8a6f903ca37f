"""What a watch remembers fits into the store, and two watches that save at once lose nothing."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from app.jobs.runs.run_summary import RunSummary, run_summary
from app.jobs.runs.watch_state import (
    WATCH_STATE,
    DurationsState,
    FailureStreak,
    JobsState,
    LateSince,
    RunsState,
    ScheduleSeen,
    WatchState,
    WatchStateStore,
)
from app.jobs.runs.watched_jobs import JobSelection
from app.storage.documents import MAX_DOCUMENT_CHARACTERS, Document, DocumentStore

LARGEST = 2**63 - 1
NOW_MS = 1_790_000_000_000
IDS = [LARGEST - number for number in range(20_000)]


def store_of(documents: DocumentStore | None, selection: JobSelection | None = None) -> WatchStateStore:
    return WatchStateStore(documents, workspace="main", selection=selection or JobSelection())


def ended(run_id: int, ended_ms: int) -> RunSummary:
    status = {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR"}}
    return run_summary({"run_id": run_id, "start_time": ended_ms - 1, "end_time": ended_ms, "status": status})


def test_the_largest_state_fits_into_documents() -> None:
    runs = RunsState(
        since_ms=NOW_MS,
        listed=10**9,
        handled={run_id: NOW_MS + number for number, run_id in enumerate(IDS)},
        open_runs=tuple(IDS),
        streaks={run_id: FailureStreak(10**6, NOW_MS, run_id) for run_id in IDS},
    )
    jobs = JobsState(
        late={run_id: LateSince(NOW_MS, never_started=False) for run_id in IDS},
        long_runs=dict.fromkeys(IDS, NOW_MS),
        schedules={run_id: ScheduleSeen("f" * 8, NOW_MS, NOW_MS) for run_id in IDS},
    )
    assert len(runs.bounded().model_dump_json()) < MAX_DOCUMENT_CHARACTERS
    assert len(jobs.bounded().model_dump_json()) < MAX_DOCUMENT_CHARACTERS
    durations = DurationsState(until_ms=NOW_MS, seconds=dict.fromkeys(IDS, (60 * 24 * 3600,) * 50))
    assert len(durations.bounded().model_dump_json()) < MAX_DOCUMENT_CHARACTERS


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 100)), max_size=60), st.integers(0, 100))
def test_what_was_handled_is_never_new_again_however_much_it_is(pairs: list[tuple[int, int]], since_ms: int) -> None:
    handled = dict(pairs)
    crowd = dict.fromkeys(range(1000, 2500), since_ms + 1000)
    for state in (RunsState(since_ms=since_ms, handled=handled), RunsState(handled=handled | crowd)):
        bounded = state.bounded()
        assert not any(bounded.is_new(ended(run_id, end)) for run_id, end in state.handled.items())
        assert bounded.is_new(ended(7, since_ms + 2000))


async def test_a_state_comes_back_as_it_was(documents: DocumentStore) -> None:
    state = WatchState(
        RunsState(
            since_ms=5,
            listed=7,
            handled={1: 9},
            open_runs=(2, 3),
            streaks={4: FailureStreak(failures=2, ended_ms=8, run_id=1)},
        ),
        JobsState(
            late={4: LateSince(5, never_started=True)},
            long_runs={2: 4},
            schedules={4: ScheduleSeen("f", 0)},
        ),
        DurationsState(until_ms=9, seconds={4: (60, 61)}),
    )
    for place in (documents, None):
        store = store_of(place)
        assert await store.load() == WatchState()
        await store.save(state)
        assert await store.load() == state
    assert await store_of(documents).load() == state
    assert await store_of(documents, JobSelection(ids=(4,))).load() == WatchState()


async def test_watches_that_save_at_once_keep_what_each_has_handled(documents: DocumentStore) -> None:
    stores = [store_of(documents) for _ in range(5)]
    states = [WatchState(RunsState(since_ms=number, handled={number: 100})) for number in range(1, 6)]
    await asyncio.gather(*(store.save(state) for store, state in zip(stores, states, strict=True)))
    runs = (await stores[0].load()).runs
    assert (runs.since_ms, set(runs.handled)) == (5, {1, 2, 3, 4, 5})


async def test_a_state_that_this_version_cannot_read_begins_anew(documents: DocumentStore) -> None:
    store = store_of(documents)
    await store.save(WatchState(RunsState(since_ms=5)))
    for document in (await documents.list_page(WATCH_STATE, "main")).documents:
        await documents.put(Document(document.key, '{"since_ms": "soon"', version=document.version))
    assert await store.load() == WatchState()
    await store.save(WatchState(RunsState(since_ms=6)))
    assert (await store.load()).runs.since_ms == 6
