"""What the pages for operating and security say of Azure, against each other and against what is deployed."""

from __future__ import annotations

import re

import pytest

from app.storage.queue import MESSAGE_LIFETIME_SECONDS
from tests.ops.files.deployments import ROOT, template

OPERATIONS = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")
PARAMETERS = template()["parameters"]


def description(parameter: str) -> str:
    return str(PARAMETERS[parameter]["metadata"]["description"])


@pytest.mark.parametrize(
    "text",
    [
        OPERATIONS[OPERATIONS.index("\n## Poison messages") : OPERATIONS.index("\n## Instances")],
        next(line for line in OPERATIONS.splitlines() if line.startswith("| messages that failed")),
        next(part for part in SECURITY.split("\n- ") if part.startswith("**What is kept.**")),
        description("conversationRetentionDays"),
    ],
    ids=["the runbook", "what is kept", "security", "the parameter"],
)
def test_a_message_that_failed_is_kept_for_a_week(text: str) -> None:
    """The host puts it on the poison queue without a time to live, and Azure's default is seven days.

    https://learn.microsoft.com/rest/api/storageservices/put-message
    """
    assert "turns-poison" in text
    assert re.search(r"\bseven days\b", text)


def test_on_a_laptop_a_message_that_failed_is_kept_for_a_day() -> None:
    assert MESSAGE_LIFETIME_SECONDS == 24 * 3600
    assert [page for page in (OPERATIONS, SECURITY) if "(on a laptop one)" not in page] == []


def test_the_role_that_the_runbook_gives_is_taken_back() -> None:
    given, taken = (
        re.findall(rf"az role assignment {verb}(?:[^\n]*\\\n)+[^\n]*--role (\"[^\"]+\" --scope \S+)", OPERATIONS)
        for verb in ('create --assignee-object-id "\\$me"', "delete")
    )
    assert len(given) == 1
    assert taken == given


def test_every_threshold_of_the_alerts_is_explained() -> None:
    thresholds = [name for name in PARAMETERS if re.match(r"alert(Minimum|Failure)", name)]
    alerts = OPERATIONS[OPERATIONS.index("\n## Alerts") : OPERATIONS.index("\n## Poison messages")]
    assert len(thresholds) >= 5
    assert [name for name in thresholds if f"`{name}`" not in alerts] == []
