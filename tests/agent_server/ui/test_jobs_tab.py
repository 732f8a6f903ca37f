"""The second tab of the page in Chromium: incidents, a decision, and charts whose numbers can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from agent_server.page.incident_json import incident_json, summary_json
from app.jobs.history.history_statistics import day_of, history_statistics
from app.jobs.incidents.incident import IncidentState
from tests.agent_server.ui.conftest import OpenPage
from tests.agent_server.ui.test_page import AXE, faults
from tests.jobs.chat.sample_incidents import ANN, INCIDENT, NOW, POLICY, PROPOSAL, an_incident, hostile_incident
from tests.jobs.history.sample_records import NOON, a_record

pytestmark = pytest.mark.slow

RECORDS = [
    a_record(
        number, NOON - number * 3600.0, outcome=outcome, decision=decision, cause=f"A cause that is long: {number}"
    )
    for number, (outcome, decision) in enumerate(
        [("succeeded", "RETRY"), ("failed", "RETRY"), ("succeeded", "RETRY_WITH_PARAMS"), ("", "ESCALATE_EMAIL")]
    )
]


class Watch:
    """Answers the tab's requests as the server does."""

    def __init__(self) -> None:
        self.incidents = [INCIDENT, hostile_incident().model_copy(update={"id": "hostile"})]
        self.decided: list[Any] = []

    def answer(self, route: Route) -> None:
        path = route.request.url.partition("/api/incidents")[2]
        if path.endswith("/decision"):
            self.decided.append(json.loads(route.request.post_data or ""))
            self.incidents[0] = an_incident(state=IncidentState.RETRYING, decided_by=ANN)
            route.fulfill(json={"said": "Ann approved the retry.", "incident": self._json(self.incidents[0])})
        elif path == "/summary":
            days = sorted(day for record in RECORDS if (day := day_of(record)))
            route.fulfill(json=summary_json(history_statistics(RECORDS, days[0], days[-1]), 30, NOW))
        else:
            page = {"incidents": [self._json(each) for each in self.incidents], "next": None}
            route.fulfill(json={**page, "may_decide": True, "says": "The app acts with its own permissions."})

    def _json(self, incident: Any) -> dict[str, Any]:
        return incident_json(incident, POLICY, may_decide=True)


def open_jobs(open_page: OpenPage, watch: Watch, **options: Any) -> Page:
    page = open_page(**options)
    page.route("**/api/incidents**", watch.answer)
    page.route("**/api/incidents/**", watch.answer)
    page.get_by_role("link", name="Jobs", exact=True).click()
    return page


def test_an_incident_is_approved_and_the_charts_say_the_numbers_of_their_tables(open_page: OpenPage) -> None:
    watch = Watch()
    page = open_jobs(open_page, watch)
    incident = page.get_by_role("article", name="nightly_etl failed", exact=True)
    incident.get_by_role("button", name="Approve").click()
    expect(incident.get_by_role("status")).to_have_text("Ann approved the retry.")
    expect(incident.get_by_text("The retry is running").first).to_be_visible()
    expect(incident.get_by_role("heading", name="nightly_etl failed")).to_be_focused()
    assert watch.decided == [{"verb": "approve_job_retry", "decision_id": PROPOSAL.id, "entered": {}}]

    expect(page.get_by_text("67 %")).to_be_visible()
    page.locator("figure.chart", has_text="Jobs").locator(".mark-rect.role-mark path").first.hover()
    expect(page.locator(".chart-tip")).to_have_text("4 Failed runsnightly_etl")
    page.mouse.move(5, 5)
    expect(page.locator(".chart-tip")).to_have_count(0)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_no_part_of_the_tab_has_a_fault_that_axe_finds_or_is_wider_than_the_window(
    open_page: OpenPage, scheme: str, width: int
) -> None:
    page = open_jobs(open_page, Watch(), width=width, color_scheme=scheme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    expect(page.locator("figure.chart svg.marks")).to_have_count(4)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    expect(page.get_by_label("batch_size").first).to_be_visible()
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.locator("article a[href*='evil']").count() == 0, "what a job is called became a link"
