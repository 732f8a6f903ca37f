"""Passes of the job watch: what people are told, and what is done about failed runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.jobs.decisions.decision import DecisionAction
from app.jobs.incidents.incident import IncidentState
from app.jobs.job_policy import JobPolicy, ParameterRule, WatchMode
from app.jobs.notifications.notifier import Notice, NotifyError
from app.jobs.repairs import repair_sentences as sentences
from app.local.job_plans import SUCCESS, Outcome, TaskPlan, failure, in_turn
from tests.jobs.repairs.repair_harness import Fuse, FusedApi, FusedDocuments, Killed
from tests.jobs.watching.watch_harness import ALICE, RETRY, RecordingNotifier, ScriptedStrategy, Watcher, watcher

FAILS = failure("ValueError: bad")
FAILS_ONCE = in_turn(FAILS, SUCCESS)
AUTO = JobPolicy(mode=WatchMode.AUTO, is_rerun_safe=True, approvers=(ALICE,))
APPROVE = JobPolicy(mode=WatchMode.APPROVE, approvers=(ALICE,))
HOUR = 3600.0


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[Watcher]:
    async with watcher(tmp_path) as found:
        yield found


def a_failed_run(w: Watcher, behaviour: Any = FAILS_ONCE, **settings: Any) -> int:
    return w.jobs.run(TaskPlan("load", behaviour), **settings)


async def test_observing_tells_a_failure_once_and_only_proposes(w: Watcher) -> None:
    run_id = a_failed_run(w)
    first = await w.watch().run_pass()
    second = await w.watch().run_pass()
    assert [(each.run_id, each.action, each.decision) for each in first.records] == [(run_id, "proposed", "RETRY")]
    assert second.records == ()
    assert w.notifier.told == ["opened"]
    incident = await w.only_incident()
    assert incident.state is IncidentState.OPEN
    assert incident.proposal is not None
    assert w.jobs.stand_in.repairs == []


async def test_a_safe_job_is_repaired_and_people_are_told_when_it_is_green(w: Watcher) -> None:
    w.policy = AUTO
    a_failed_run(w)
    await w.watch().run_pass()
    assert len(w.jobs.stand_in.repairs) == 1
    w.jobs.now += HOUR
    await w.watch().run_pass()
    assert w.notifier.told == ["opened", "retry_started", "recovered"]
    [record] = await w.history()
    assert (record.action, record.outcome, record.approved_by) == ("retried", "succeeded", "")
    assert (await w.only_incident()).state is IncidentState.RECOVERED


async def test_a_job_that_was_edited_since_the_run_began_is_not_repaired_without_a_person(w: Watcher) -> None:
    w.policy = AUTO
    run_id = a_failed_run(w)
    job_id = w.jobs.store.run(run_id).job_id
    w.jobs.store.edit(job_id, replace(w.jobs.store.job(job_id), parameters={"batch_size": "9"}))
    [record] = (await w.watch().run_pass()).records
    assert (record.action, w.jobs.stand_in.repairs) == ("proposed", [])
    incident = await w.only_incident()
    assert incident.failure.was_edited_since
    assert incident.rule == "job_was_edited"


async def test_a_retry_that_was_approved_is_begun_once_and_followed(w: Watcher) -> None:
    w.policy = APPROVE
    a_failed_run(w)
    await w.watch().run_pass()
    assert w.notifier.told == ["proposed"]
    assert w.jobs.stand_in.repairs == []
    incident = await w.only_incident()
    await w.approve(incident)
    await asyncio.gather(*(w.watch().begin_retry(incident.id) for _ in range(3)), w.watch().follow_up())
    assert len(w.jobs.stand_in.repairs) == 1
    w.jobs.now += HOUR
    await w.watch().follow_up()
    assert w.notifier.told == ["proposed", "retry_started", "recovered"]
    [record] = await w.history()
    assert (record.outcome, record.approved_by) == ("succeeded", "Alice")


async def test_parameters_that_are_allowed_are_changed_and_the_others_are_sent_as_they_were(w: Watcher) -> None:
    w.policy = replace(AUTO, parameters=(ParameterRule("batch_size", "integer", 1, 10_000),))
    w.decides("RETRY_WITH_PARAMS", suggested_params={"batch_size": "10000"})
    a_failed_run(w, parameters={"batch_size": "50000", "day": "today"})
    result = await w.watch().run_pass()
    assert [each.action for each in result.records] == ["retried_with_params"]
    [repair] = w.jobs.stand_in.repairs
    assert repair["job_parameters"] == {"batch_size": "10000", "day": "today"}


async def test_a_run_on_serverless_compute_is_repaired_with_another_performance_target(w: Watcher) -> None:
    rule = ParameterRule("performance_target", "text", choices=("PERFORMANCE_OPTIMIZED", "STANDARD"))
    w.policy = replace(AUTO, parameters=(rule,))
    w.decides("RETRY_WITH_PARAMS", suggested_params={"performance_target": "PERFORMANCE_OPTIMIZED"})
    a_failed_run(w, parameters={"day": "today"}, is_serverless=True)
    await w.watch().run_pass()
    [repair] = w.jobs.stand_in.repairs
    assert repair["performance_target"] == "PERFORMANCE_OPTIMIZED"
    assert repair["job_parameters"] == {"day": "today"}


async def test_the_same_error_after_a_retry_goes_to_a_person(w: Watcher) -> None:
    w.policy = AUTO
    a_failed_run(w, in_turn(FAILS))
    for _ in range(4):
        await w.watch().run_pass()
        w.jobs.now += HOUR
    assert len(w.jobs.stand_in.repairs) == 1
    assert w.notifier.told == ["opened", "retry_started", "retry_failed", "escalated"]
    assert [(each.action, each.outcome, each.rule) for each in await w.history()] == [
        ("retried", "failed", ""),
        ("escalated", "", "same_error_again"),
    ]


@pytest.mark.parametrize(("second", "outcome"), [(FAILS, "failed"), (SUCCESS, "succeeded")])
async def test_how_each_retry_of_an_incident_ended_is_known_even_where_another_failed_first(
    w: Watcher, second: Outcome, outcome: str
) -> None:
    w.policy = AUTO
    for number, behaviour in enumerate((in_turn(FAILS), in_turn(FAILS, replace(second, seconds=2 * HOUR)))):
        w.jobs.store.start(w.jobs.add(TaskPlan("load", behaviour), name=f"job {number}"))
    for _ in range(4):
        w.jobs.now += HOUR
        await w.watch().run_pass()
    assert len(w.jobs.stand_in.repairs) == 2
    history = await w.history()
    assert sorted(each.outcome for each in history if each.action == "retried") == sorted(["failed", outcome])
    assert {each.action for each in history} == {"retried", "escalated"}


async def test_a_further_failure_during_a_retry_is_not_recorded_as_retried(w: Watcher) -> None:
    w.policy = AUTO
    job_id = w.jobs.add(TaskPlan("load", in_turn(FAILS, replace(SUCCESS, seconds=9 * HOUR))), max_concurrent_runs=5)
    for _ in range(2):
        w.jobs.store.start(job_id)
        w.jobs.now += HOUR
        await w.watch().run_pass()
    assert [each.action for each in await w.history()] == ["retried", "proposed"]
    assert len(w.jobs.stand_in.repairs) == 1


async def test_another_error_after_a_retry_is_retried_until_the_attempts_are_used_up(w: Watcher) -> None:
    w.policy = AUTO
    words = ["a", "b", "c", "d", "e", "f"]
    a_failed_run(w, in_turn(*(failure(f"ValueError: bad {word}") for word in words)))
    for _ in range(8):
        await w.watch().run_pass()
        w.jobs.now += HOUR
    assert len(w.jobs.stand_in.repairs) == AUTO.max_retry_attempts
    assert (await w.history())[-1].rule == "retries_used_up"
    assert (await w.only_incident()).state is IncidentState.ESCALATED


async def test_many_jobs_with_one_cause_are_one_incident(w: Watcher) -> None:
    for number in range(4):
        w.jobs.store.start(w.jobs.add(TaskPlan("load", in_turn(FAILS)), name=f"job {number}"))
    w.jobs.now += HOUR
    await w.watch().run_pass()
    incident = await w.only_incident()
    assert (incident.run_count, len(incident.job_ids)) == (4, 4)
    assert w.notifier.told == ["opened"]


async def test_a_further_failure_of_the_same_kind_belongs_to_the_open_incident(w: Watcher) -> None:
    job_id = w.jobs.add(TaskPlan("load", in_turn(FAILS)))
    for _ in range(3):
        w.jobs.store.start(job_id)
        w.jobs.now += HOUR
        await w.watch().run_pass()
    assert w.notifier.told == ["opened", "repeated", "repeated"]
    assert (await w.only_incident()).run_count == 3


async def test_much_that_fails_at_once_stops_every_automatic_retry(w: Watcher) -> None:
    w.policy, w.breaker_jobs = AUTO, 3
    for number in range(3):
        error = failure(f"ValueError: bad {'abc'[number]}")
        w.jobs.store.start(w.jobs.add(TaskPlan("load", in_turn(error, SUCCESS)), name=f"job {number}"))
    w.jobs.now += HOUR
    result = await w.watch().run_pass()
    assert w.jobs.stand_in.repairs == []
    assert {(each.action, each.rule) for each in result.records} == {("proposed", "breaker")}
    assert w.notifier.told == ["proposed"] * 3


async def test_what_is_transient_is_retried_by_a_later_pass(w: Watcher) -> None:
    w.policy = AUTO
    w.decides("RETRY", delay_seconds=600.0)
    a_failed_run(w)
    await w.watch().run_pass()
    w.jobs.now += 300
    await w.watch().run_pass()
    assert w.jobs.stand_in.repairs == []
    w.jobs.now += 301
    await w.watch().run_pass()
    assert len(w.jobs.stand_in.repairs) == 1


async def test_what_needs_nobody_is_recorded_and_not_told(w: Watcher) -> None:
    w.decides("SKIP")
    a_failed_run(w)
    result = await w.watch().run_pass()
    assert [each.action for each in result.records] == ["skipped"]
    assert w.notifier.told == []


async def test_a_proposal_that_nobody_answers_expires_and_says_so(w: Watcher) -> None:
    w.policy = APPROVE
    a_failed_run(w, in_turn(FAILS))
    await w.watch().run_pass()
    w.jobs.now += 25 * HOUR
    await w.watch().follow_up()
    assert w.notifier.told == ["proposed", "expired"]
    incident = await w.only_incident()
    assert incident.state is IncidentState.OPEN


async def test_a_job_that_is_green_again_by_itself_says_so(w: Watcher) -> None:
    job_id = w.jobs.add(TaskPlan("load", in_turn(FAILS)))
    w.jobs.store.start(job_id)
    w.jobs.now += HOUR
    await w.watch().run_pass()
    w.jobs.store.edit(job_id, replace(w.jobs.store.job(job_id), tasks=(TaskPlan("load"),)))
    w.jobs.store.start(job_id)
    w.jobs.now += HOUR
    await w.watch().run_pass()
    assert w.notifier.told == ["opened", "recovered"]


async def test_what_cannot_be_told_now_is_told_by_the_next_pass(w: Watcher) -> None:
    a_failed_run(w)
    w.notifier.failure = NotifyError("Nobody answers.", is_temporary=True)
    await w.watch().run_pass()
    w.notifier.failure = None
    await w.watch().run_pass()
    assert w.notifier.told == ["opened"]


async def test_what_can_never_be_told_holds_up_nothing(w: Watcher) -> None:
    a_failed_run(w)
    w.notifier.failure = NotifyError("The address is wrong.", is_temporary=False)
    await w.watch().run_pass()
    assert (await w.only_incident()).notices == ()


async def test_a_snoozed_incident_tells_nothing_until_the_snooze_ends(w: Watcher) -> None:
    job_id = w.jobs.add(TaskPlan("load", in_turn(FAILS)))
    w.jobs.store.start(job_id)
    w.jobs.now += HOUR
    await w.watch().run_pass()
    until = w.jobs.now + 4 * HOUR
    incident = await w.only_incident()
    await w.incidents.update(incident.id, lambda each: each.model_copy(update={"snoozed_until_seconds": until}))
    w.jobs.store.start(job_id)
    w.jobs.now += HOUR
    await w.watch().run_pass()
    assert w.notifier.told == ["opened"]
    w.jobs.now = until + 1
    await w.watch().run_pass()
    assert w.notifier.told == ["opened", "repeated"]


async def test_without_a_store_that_outlives_the_process_nothing_is_repaired(w: Watcher) -> None:
    w.policy, w.most_mode = AUTO, WatchMode.OBSERVE
    a_failed_run(w)
    await w.watch().run_pass()
    assert w.jobs.stand_in.repairs == []
    assert (await w.only_incident()).mode is WatchMode.OBSERVE


async def test_a_failure_that_cannot_be_read_now_is_found_by_the_next_pass(w: Watcher) -> None:
    a_failed_run(w)
    w.jobs.stand_in.faults["runs/get"].extend(["unavailable"] * 4)
    first = await w.watch().run_pass()
    assert first.records == ()
    assert first.notes
    assert len((await w.watch().run_pass()).records) == 1


async def test_a_second_strategy_is_recorded_beside_the_first_and_never_acts(w: Watcher) -> None:
    w.policy = AUTO
    w.observed = ScriptedStrategy(replace(RETRY, action=DecisionAction.ESCALATE_EMAIL), model="other")
    a_failed_run(w)
    await w.watch().run_pass()
    found = [(each.strategy, each.action, each.decision, each.model) for each in await w.history()]
    assert found == [
        ("primary", "retried", "RETRY", "scripted"),
        ("observed", "observed", "ESCALATE_EMAIL", "other"),
    ]


async def test_a_run_that_takes_too_long_is_told_and_canceled_when_somebody_says_so(w: Watcher) -> None:
    w.policy = replace(APPROVE, max_minutes=30)
    run = w.jobs.store.start(w.jobs.add(TaskPlan("load", in_turn(replace(SUCCESS, seconds=10 * HOUR)))))
    w.jobs.now += HOUR
    [incident] = (await w.watch().run_pass()).incidents
    assert (incident.kind, incident.state, w.notifier.told) == ("too_long", IncidentState.PROPOSED, ["opened"])
    await w.approve(incident)
    await w.watch().begin_retry(incident.id)
    assert not w.jobs.store.run(run.run_id).is_active(w.jobs.now)


async def test_a_retry_that_is_refused_is_said_and_goes_to_a_person(w: Watcher) -> None:
    w.policy = APPROVE
    run_id = a_failed_run(w)
    await w.watch().run_pass()
    incident = await w.only_incident()
    await w.approve(incident)
    w.jobs.store.delete(incident.job_id)
    await w.watch().begin_retry(incident.id)
    assert w.notifier.told == ["proposed", "retry_refused", "escalated"]
    assert w.notifier.notices[1].text
    assert run_id == incident.failure.run_id


async def test_two_watchers_at_once_repair_and_record_every_run_once(w: Watcher) -> None:
    w.policy = AUTO
    for number in range(6):
        error = failure(f"ValueError: bad {'abcdef'[number]}")
        w.jobs.store.start(w.jobs.add(TaskPlan("load", in_turn(error, SUCCESS)), name=f"job {number}"))
    w.jobs.now += HOUR
    w.jobs.stand_in.delay_seconds = 0.005
    results = await asyncio.gather(*(w.watch().run_pass() for _ in range(2)))
    assert sum(len(each.records) for each in results) == 6
    w.jobs.now += 300
    await w.watch().run_pass()
    assert sorted(each["run_id"] for each in w.jobs.stand_in.repairs) == sorted(
        {each.run_id for each in await w.history()}
    )


@pytest.mark.parametrize("killed_pass", ["the first", "the second"])
async def test_wherever_a_pass_is_killed_the_next_ones_lose_and_repeat_nothing(
    tmp_path: Path, killed_pass: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runs.run_lists._FIRST_RANGES", 1)
    for step in range(1, 200):
        path = tmp_path / str(step)
        path.mkdir()
        async with watcher(path, policy=AUTO) as w:
            for number, word in enumerate("aab"):
                error = failure(f"ValueError: bad {word}")
                w.jobs.store.start(w.jobs.add(TaskPlan("load", in_turn(error, SUCCESS)), name=f"job {number}"))
            w.jobs.now += HOUR
            if killed_pass == "the second":
                await w.watch().run_pass()
                w.jobs.now += HOUR
            is_last = await _killed_at(step, w)
            for _ in range(2):
                w.jobs.now += HOUR
                await w.watch().run_pass()
            history = await w.history()
            assert len(history) == 3, f"killed at step {step}: {len(history)} decisions"
            assert {each.outcome for each in history} == {"succeeded"}, f"killed at step {step}"
            assert len(w.jobs.stand_in.repairs) == 3, f"killed at step {step}: {len(w.jobs.stand_in.repairs)} repairs"
            told = sorted(w.notifier.told)
            assert told == sorted(["opened", "retry_started", "recovered"] * 2), f"killed at step {step}: {told}"
        if is_last:
            return
    pytest.fail("no step was the last one")


async def _killed_at(step: int, w: Watcher) -> bool:
    """Whether the pass ended before that step."""
    fuse = Fuse(step)
    watch = w.watch(lambda documents: FusedDocuments(documents, fuse), lambda api: FusedApi(api, fuse))  # type: ignore[arg-type, return-value]
    try:
        await watch.run_pass()
    except (Killed, BaseExceptionGroup):
        return False
    return True


async def test_every_run_of_one_cause_is_retried_however_many_there_are(
    w: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.watching.job_watch.MAX_RUNS", 2)
    w.policy = AUTO
    for number in range(5):
        w.jobs.store.start(w.jobs.add(TaskPlan("load", FAILS_ONCE), name=f"job {number}"))
    w.jobs.now += HOUR
    result = await w.watch().run_pass()
    assert [each.action for each in result.records] == ["retried"] * 5
    assert sorted(each["run_id"] for each in w.jobs.stand_in.repairs) == sorted(each.run_id for each in result.records)
    assert w.notifier.told.count("opened") == 3


async def test_every_retry_of_a_pass_is_begun_before_anybody_is_told(w: Watcher) -> None:
    begun: list[int] = []

    class CountingNotifier(RecordingNotifier):
        async def notify(self, notice: Notice) -> None:
            begun.append(len(w.jobs.stand_in.repairs))

    w.policy, w.notifier, w.breaker_jobs = AUTO, CountingNotifier(), 100
    for number in range(12):
        error = failure(f"KeyError: '{'abcdefghijkl'[number]}_column'")
        w.jobs.store.start(w.jobs.add(TaskPlan("load", in_turn(error, SUCCESS)), name=f"job {number}"))
    w.jobs.now += HOUR
    await w.watch().run_pass()
    assert begun == [12] * 24


class _RefusesSome(RecordingNotifier):
    async def notify(self, notice: Notice) -> None:
        if notice.incident.job_name == "refused":
            raise NotifyError("Not now.", is_temporary=True)
        await super().notify(notice)


async def test_whatever_is_due_is_told_however_much_it_is_and_whatever_of_it_cannot_be_told(
    w: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.watching.job_watch._DUE_AT_ONCE", 2)
    w.notifier = _RefusesSome()
    for names in (["refused"] * 3, [f"job {number}" for number in range(5)]):
        for number, name in enumerate(names):
            error = failure(f"ValueError: bad {'abcde'[number]} of {name[:3]}")
            w.jobs.store.start(w.jobs.add(TaskPlan("load", in_turn(error)), name=name))
        w.jobs.now += HOUR
        await w.watch().run_pass()
    assert sorted(each.incident.job_name for each in w.notifier.notices) == names


async def test_a_repair_that_somebody_else_began_is_followed_and_is_no_retry_of_ours(w: Watcher) -> None:
    w.policy = APPROVE
    run_id = a_failed_run(w, in_turn(FAILS))
    await w.watch().run_pass()
    w.jobs.store.repair(run_id, failed_tasks=True)
    await w.approve(await w.only_incident())
    await w.watch().follow_up()
    [retry] = (await w.only_incident()).retries
    assert not retry.by_us
    assert [each.text for each in w.notifier.notices if each.kind == "retry_started"] == [sentences.BY_SOMEBODY_ELSE]
    w.jobs.now += HOUR
    result = await w.watch().run_pass()
    assert w.jobs.stand_in.repairs == []
    # The same error after a retry of ours would go to a person at once.
    assert [(each.rule, each.action) for each in result.records] == [("rerun_not_declared_safe", "proposed")]


async def test_a_run_that_is_gone_when_its_retry_is_approved_is_run_again_with_its_parameters(w: Watcher) -> None:
    w.policy = APPROVE
    run_id = a_failed_run(w, parameters={"day": "today"})
    w.jobs.store.edit(w.jobs.store.run(run_id).job_id, replace(w.jobs.store.run(run_id).plan, parameters={"day": ""}))
    await w.watch().run_pass()
    incident = await w.only_incident()
    w.jobs.now += 61 * 24 * HOUR
    await w.approve(incident)
    await w.watch().follow_up()
    begun = await w.incidents.find(incident.id)
    assert begun is not None
    [retry] = begun.retries
    assert (retry.kind, w.jobs.store.run(retry.run_id).parameters) == ("run", {"day": "today"})
    assert sentences.GONE_SO_RUN in [each.text for each in w.notifier.notices]
