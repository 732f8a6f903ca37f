"""Whatever is pressed, in whatever order and with whatever data: one decision at most, by an approver, in its time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.chat.incident_buttons import decision_id
from app.jobs.chat.incident_decisions import DECISIONS, NotAllowedError, Press, decide
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.job_policy import Person
from app.messaging.job_messages import JOB_VERBS
from tests.jobs.chat.sample_incidents import ANN, BOB, NOW, POLICY, PROPOSAL, TENANT, an_incident

PEOPLE = st.sampled_from([ANN, BOB, Person(TENANT, "", "Nobody"), Person("", ANN.entra_object_id, "Ann")])
IDS = st.sampled_from(
    [PROPOSAL.id, "x", ""]
    + [decision_id(an_incident(state=state, proposal=last)) for state in IncidentState for last in (PROPOSAL, None)]
)
DATA = st.dictionaries(
    st.sampled_from(["parameter_0", "parameter_1", "parameter_99", "hours", "assigned_to", "note", "incident"]),
    st.sampled_from(["", "50", "500", "9000", "full", "1", "-1", "\u0663", "**x**\n" * 500]),
)
PRESSES = st.builds(Press, IDS, st.sampled_from(JOB_VERBS), PEOPLE, st.floats(NOW, NOW + 24 * 3600.0), DATA)
INCIDENTS = st.sampled_from(IncidentState).map(lambda state: an_incident(state=state)) | st.just(
    an_incident(state=IncidentState.OPEN, proposal=None)
)


@settings(max_examples=100)
@given(INCIDENTS, st.lists(PRESSES, max_size=6))
def test_presses_make_one_decision_at_most_and_only_an_approver_makes_it(
    incident: Incident, presses: list[Press]
) -> None:
    first, approvals = incident, 0
    for number, press in enumerate(presses):
        before = incident
        try:
            incident = decide(incident, POLICY, press, f"n{number}")
        except NotAllowedError:
            continue
        if press.verb != "wrong_job_diagnosis":
            assert press.by is ANN
        if press.verb in DECISIONS:
            assert not before.state.is_closed
            assert press.id in (PROPOSAL.id, decision_id(before))
        else:
            assert (incident.state, incident.proposal, incident.decided_by) == (
                before.state, before.proposal, before.decided_by,
            )  # fmt: skip
        if incident.state is IncidentState.APPROVED and before.state is not IncidentState.APPROVED:
            approvals += 1
            assert before.state is IncidentState.PROPOSED
            assert press.at_seconds < PROPOSAL.expires_at_seconds
            assert incident.proposal is not None
            assert incident.proposal.parameters in ({"batch_size": "100"}, {"batch_size": "50"})
        assert incident.notices[-1].id == f"n{number}"
        assert len(incident.note) <= 300
        assert incident.failure == first.failure
    assert approvals <= 1
    assert len(incident.wrong_diagnosis_by) <= 2
