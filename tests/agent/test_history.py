"""What the model is reminded of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.agent.history import estimate_tokens, within_budget
from app.storage.conversations import StoredMessage

MESSAGES = st.lists(
    st.builds(StoredMessage, st.sampled_from(["user", "assistant"]), st.text(max_size=60), st.booleans()), max_size=20
)


@given(MESSAGES, st.integers(0, 200))
def test_the_memory_never_exceeds_its_budget_and_begins_with_a_question(
    history: list[StoredMessage], budget: int
) -> None:
    remembered = within_budget(history, budget)
    assert sum(estimate_tokens(message.content) for message in remembered) <= budget
    assert not remembered or remembered[0].role == "user"


def test_the_newest_exchanges_are_remembered() -> None:
    history = [StoredMessage(role, f"{role} {n} " + "x" * 60) for n in range(9) for role in ("user", "assistant")]
    assert [m.content[:11].strip() for m in within_budget(history, 120)] == [
        "user 7 xxxx",
        "assistant 7",
        "user 8 xxxx",
        "assistant 8",
    ]


def test_an_answer_that_was_stopped_is_marked_as_cut_off() -> None:
    history = [StoredMessage("user", "Q"), StoredMessage("assistant", "Half", complete=False)]
    assert "cut off" in within_budget(history, 100)[1].content
