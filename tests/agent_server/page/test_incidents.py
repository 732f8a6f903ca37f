"""The second tab of the page: who may see incidents, what they read of them, and what they decide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from agent_server.http.error_answers import error_answer
from agent_server.http.incident_routes import incident_routes
from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from agent_server.page.incident_decisions import IncidentDecisions
from agent_server.page.incident_people import IncidentPeople
from agent_server.page.incidents import Incidents
from agent_server.protocol.api_error import ApiError
from app.databricks.workspace_errors import WorkspaceUnavailableError
from app.jobs.chat.incident_buttons import decision_id
from app.jobs.chat.job_notice import ChatNotifier
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import Incident, IncidentState, Retry
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import Person
from app.messaging import job_messages as verbs
from app.storage.factory import open_storage
from tests.fakes.memory_receiver import MemoryReceiver
from tests.jobs.chat.sample_incidents import INCIDENT, NOW, POLICY, PROPOSAL, an_incident, hostile_incident
from tests.jobs.history.sample_records import a_record

WORKSPACE = INCIDENT.workspace
APPROVER, VIEWER, STRANGER = "77@1", "88@1", "99@1"
APPROVE = {"verb": verbs.APPROVE_RETRY, "decision_id": PROPOSAL.id}


@dataclass
class Tab:
    incidents: IncidentStore
    records: DecisionRecords
    decisions: IncidentDecisions
    http: httpx.AsyncClient
    queue: MemoryReceiver
    begun: list[str] = field(default_factory=list)
    begin_error: Exception | None = None

    async def ask(self, owner: str, path: str = "", body: Any = None) -> httpx.Response:
        method = "GET" if body is None else "POST"
        return await self.http.request(method, f"/api/incidents{path}", json=body, headers={"x-forwarded-user": owner})

    async def decide(self, owner: str, **body: Any) -> httpx.Response:
        return await self.ask(owner, f"/{INCIDENT.id}/decision", body)

    async def begin_retry(self, incident_id: str) -> None:
        self.begun.append(incident_id)
        if self.begin_error is not None:
            raise self.begin_error

    async def record(self, incident: Incident, ended_at_seconds: float, **changes: Any) -> None:
        number = len(self.begun) + int(ended_at_seconds)
        key = record_key(ended_at_seconds, f"{incident.id}-{number}")
        await self.records.add(a_record(ended_at_seconds=ended_at_seconds, key=key, incident_id=incident.id, **changes))


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    storage = open_storage(tmp_path / "store.sqlite")
    incidents = IncidentStore(storage.documents, workspace=WORKSPACE)
    records = DecisionRecords(storage.documents, workspace=WORKSPACE)
    people = IncidentPeople((APPROVER,), (VIEWER,))
    queue = MemoryReceiver()
    begin: list[Any] = []

    async def begin_retry(incident_id: str) -> None:
        await begin[0].begin_retry(incident_id)

    decisions = IncidentDecisions(
        incidents,
        records,
        lambda *_: POLICY,
        people,
        begin_retry=begin_retry,
        notifier=ChatNotifier(queue),
        clock=lambda: NOW,
    )
    served = Incidents(incidents, records, lambda *_: POLICY, people, decisions, clock=lambda: NOW)
    app = FastAPI()

    async def find() -> Incidents:
        return served

    app.include_router(incident_routes(find, _identify))
    app.add_exception_handler(ApiError, _said)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent") as http:
        tab = Tab(incidents, records, decisions, http, queue)
        begin.append(tab)
        yield tab
    await served.close()
    await storage.close()


def _identify(headers: Any) -> ServerCaller:
    owner = headers["x-forwarded-user"]
    return ServerCaller(owner, "" if owner == LOCAL_OWNER else "Ann")


async def _said(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_answer(error)


def kinds(shown: dict[str, Any]) -> list[str]:
    return [block["kind"] for block in shown["blocks"]]


async def test_what_waits_for_a_decision_comes_first_with_its_buttons(tab: Tab) -> None:
    await tab.incidents.create(
        an_incident(id="later", job_id=12, state=IncidentState.RETRYING, changed_at_seconds=NOW + 5)
    )
    await tab.incidents.create(INCIDENT)

    answer = (await tab.ask(APPROVER)).json()

    first, second = answer["incidents"]
    assert (first["id"], first["state"], first["waits_for_decision"]) == (INCIDENT.id, "proposed", True)
    assert first["state_text"].startswith("Waiting for a decision, until 2026-")
    assert (second["id"], second["waits_for_decision"]) == ("later", False)
    assert kinds(first) == ["facts", "folded", "actions", "forms", "actions"]
    assert first["blocks"][2]["id"] == PROPOSAL.id
    assert (answer["may_decide"], "own permissions" in answer["says"]) == (True, True)


async def test_who_may_only_look_sees_no_button_but_that_of_a_wrong_diagnosis(tab: Tab) -> None:
    await tab.incidents.create(INCIDENT)
    answer = (await tab.ask(VIEWER)).json()
    (shown,) = answer["incidents"]
    assert answer["may_decide"] is False
    assert kinds(shown) == ["facts", "folded", "actions"]
    assert [each["verb"] for each in shown["blocks"][2]["actions"]] == [verbs.WRONG_DIAGNOSIS]


@pytest.mark.parametrize(
    ("path", "body"),
    [("", None), ("/summary", None), (f"/{INCIDENT.id}/decision", APPROVE), ("?cursor=2026-11-27", None)],
)
async def test_nobody_else_learns_of_a_job_and_is_told_what_to_ask_for(tab: Tab, path: str, body: Any) -> None:
    await tab.incidents.create(INCIDENT)
    answer = await tab.ask(STRANGER, path, body)
    assert answer.status_code == 403
    assert f"add your id, {STRANGER}, to AGENT_SERVER_JOB_" in answer.json()["error"]["message"]
    assert "nightly_etl" not in answer.text


async def test_everybody_may_look_where_the_setting_says_so_but_not_decide() -> None:
    people = IncidentPeople(viewers=("*",))
    assert people.identify(ServerCaller(STRANGER)).may_decide is False
    with pytest.raises(ApiError, match="You may look, but not decide"):
        people.check_may_decide(ServerCaller(STRANGER))


async def test_who_runs_the_server_on_their_own_machine_may_decide(tab: Tab) -> None:
    await tab.incidents.create(INCIDENT)
    answer = (await tab.ask(LOCAL_OWNER)).json()
    assert (answer["may_decide"], answer["says"]) == (True, "")
    assert (await tab.decide(LOCAL_OWNER, **APPROVE)).status_code == 200


async def test_an_approval_is_stored_told_and_begun(tab: Tab) -> None:
    await tab.incidents.create(INCIDENT)

    answer = await tab.decide(APPROVER, **APPROVE)

    assert answer.json()["said"].startswith("Ann approved the retry.")
    assert answer.json()["incident"]["state"] == "approved"
    stored = await tab.incidents.find(INCIDENT.id)
    assert stored is not None
    assert stored.decided_by == Person("apps", APPROVER, "Ann")
    assert [notice.kind for notice in stored.notices] == ["decided"]
    assert tab.begun == [INCIDENT.id]
    assert stored.notices[0].id in tab.queue.bodies[0]


async def test_the_same_decision_twice_is_one_and_another_comes_too_late(tab: Tab) -> None:
    await tab.incidents.create(INCIDENT)
    first, second = await asyncio.gather(tab.decide(APPROVER, **APPROVE), tab.decide(APPROVER, **APPROVE))
    assert (first.status_code, second.status_code) == (200, 200)
    stored = await tab.incidents.find(INCIDENT.id)
    assert stored is not None
    assert len(stored.notices) == 1

    late = await tab.decide(LOCAL_OWNER, verb=verbs.SKIP, decision_id=PROPOSAL.id)

    assert (late.status_code, late.json()["error"]["message"]) == (409, "Ann has already decided this.")
    assert await tab.incidents.find(INCIDENT.id) == stored


async def test_a_form_changes_parameters_within_their_rules(tab: Tab) -> None:
    await tab.incidents.create(INCIDENT)
    entered = {"parameter_0": "100000", "parameter_1": "new"}
    refused = await tab.decide(APPROVER, verb=verbs.CHANGE_RETRY, decision_id=PROPOSAL.id, entered=entered)
    assert refused.status_code == 409
    assert "batch_size" in refused.json()["error"]["message"]

    entered["parameter_0"] = "50"
    accepted = await tab.decide(APPROVER, verb=verbs.CHANGE_RETRY, decision_id=PROPOSAL.id, entered=entered)

    assert accepted.status_code == 200
    stored = await tab.incidents.find(INCIDENT.id)
    assert stored is not None
    assert stored.proposal is not None
    assert stored.proposal.parameters == {"batch_size": "50", "mode": "new"}


async def test_a_viewer_may_say_that_the_diagnosis_is_wrong_once_and_nothing_else(tab: Tab) -> None:
    await tab.incidents.create(INCIDENT)
    run = INCIDENT.runs[0]
    key = record_key(run.ended_at_seconds, run.key)
    await tab.records.add(a_record(key=key))

    answers = [(await tab.decide(VIEWER, verb=verbs.WRONG_DIAGNOSIS)).status_code for _ in range(2)]
    refused = await tab.decide(VIEWER, **APPROVE)

    stored, record = await tab.incidents.find(INCIDENT.id), await tab.records.find(key)
    assert answers == [200, 200]
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_an_approver")
    assert stored is not None
    assert [each.entra_object_id for each in stored.wrong_diagnosis_by] == [VIEWER]
    assert record is not None
    assert record.wrong_diagnosis == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"verb": "drop_table"},
        {"verb": ["x"]},
        APPROVE | {"more": 1},
        APPROVE | {"entered": {"a": "b" * 1_000}},
        APPROVE | {"entered": {str(n): "" for n in range(30)}},
        APPROVE | {"decision_id": None},
    ],
)
async def test_what_is_no_decision_is_refused_by_the_name_of_its_field(tab: Tab, body: dict[str, Any]) -> None:
    await tab.incidents.create(INCIDENT)
    answer = await tab.decide(APPROVER, **body)
    assert answer.status_code == 400
    assert "look at:" in answer.json()["error"]["message"]
    assert await tab.incidents.find(INCIDENT.id) == INCIDENT


async def test_an_unknown_incident_is_not_found(tab: Tab) -> None:
    assert (await tab.ask(APPROVER, "/nothing/decision", APPROVE)).status_code == 404


async def test_a_retry_that_cannot_be_begun_now_stays_approved_for_the_next_pass(tab: Tab) -> None:
    await tab.incidents.create(INCIDENT)
    tab.begin_error = WorkspaceUnavailableError("away")
    assert (await tab.decide(APPROVER, **APPROVE)).status_code == 200
    await asyncio.sleep(0)
    assert [each.id for each in await tab.incidents.due(NOW + 1)] == [INCIDENT.id]


async def test_an_incident_without_a_proposal_can_be_skipped(tab: Tab) -> None:
    incident = an_incident(state=IncidentState.OPEN, proposal=None)
    await tab.incidents.create(incident)
    answer = await tab.decide(APPROVER, verb=verbs.SKIP, decision_id=decision_id(incident))
    assert answer.json()["incident"]["is_closed"] is True


async def test_closed_incidents_come_newest_first_page_after_page(tab: Tab) -> None:
    day = 24 * 3600.0
    retry = Retry(
        id="r", proposal="p", of_run="1", kind="repair", run_id=70, started_at_seconds=NOW, outcome="succeeded"
    )
    for age in (1, 2, 45, 200):
        closed = an_incident(
            id=f"{age:024}", state=IncidentState.RECOVERED, changed_at_seconds=NOW - age * day, retries=(retry,)
        )
        await tab.incidents.create(closed)
        await tab.record(closed, NOW - age * day)
    await tab.incidents.create(INCIDENT)
    await tab.record(INCIDENT, NOW)

    cursor, pages = (await tab.ask(VIEWER)).json()["next"], []
    while cursor:
        page = (await tab.ask(VIEWER, f"?cursor={cursor}")).json()
        pages.append([int(each["id"]) for each in page["incidents"]])
        cursor = page["next"]

    assert [id for page in pages for id in page] == [1, 2, 45, 200]
    assert len(pages) < 10
    assert (await tab.ask(VIEWER, "?cursor=yesterday")).status_code == 400
    assert (await tab.ask(VIEWER, "?cursor=0001-01-01")).json()["next"] is None
    assert (await tab.ask(VIEWER, "?cursor=9999-12-31")).json()["incidents"][0]["id"].endswith("1")


async def test_the_summary_counts_what_the_charts_draw(tab: Tab) -> None:
    outcomes = ["succeeded", "succeeded", "failed", ""]
    for number, outcome in enumerate(outcomes):
        await tab.record(INCIDENT, NOW - number * 3600.0, outcome=outcome, cause=f"cause {number % 2}")

    summary = (await tab.ask(VIEWER, "/summary")).json()

    assert (summary["failed_runs"], summary["retries_succeeded"], summary["success_percent"]) == (4, 2, 67)
    by_day, by_outcome, table, causes, jobs = summary["blocks"]
    assert sum(point["value"] for series in by_day["series"] for point in series["points"]) == 4
    assert [sum(point["value"] for point in series["points"]) for series in by_outcome["series"]] == [2, 1]
    assert table["rows"] == [["Retry", 4, 2, 1, 0, 1, 67, 0]]
    assert {point["label"]: point["value"] for point in causes["series"][0]["points"]} == {"cause 0": 2, "cause 1": 2}
    assert jobs["series"][0]["points"][0]["label"] == "nightly_etl"


async def test_without_history_there_is_nothing_to_draw(tab: Tab) -> None:
    summary = (await tab.ask(VIEWER, "/summary")).json()
    assert (summary["failed_runs"], summary["success_percent"], summary["blocks"]) == (0, None, [])


async def test_what_a_job_says_of_itself_is_bounded_and_without_secrets(tab: Tab) -> None:
    await tab.incidents.create(hostile_incident())
    await tab.incidents.create(an_incident(id="secret", error_fingerprint="f2"))
    answer = await tab.ask(APPROVER)
    assert "0123456789abcdef" not in answer.text
    assert all(
        each["run_url"] in ("", INCIDENT.failure.url, "https://x.example/a)[b](c")
        for each in answer.json()["incidents"]
    )
