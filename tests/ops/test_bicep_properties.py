"""Names of resource types and properties as a person misspells or forgets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops.test_bicep import ALERTS, APP, VAULT, Mistake, assert_reported

BROKEN: dict[str, Mistake] = {
    "a property that is misspelt": (
        APP,
        "    httpsOnly: true",
        "    httpsOnyl: true",
        "    httpsOnyl",
        "properties has no property httpsOnyl; did you mean httpsOnly?",
    ),
    "a property of the site's configuration that is misspelt": (
        APP,
        "http20Enabled: true",
        "http2Enabled: true",
        "http2Enabled",
        "siteConfig has no property http2Enabled; did you mean http20Enabled?",
    ),
    "a property in an array that is misspelt": (
        ALERTS,
        "            emailAddress: email",
        "            emailAdress: email",
        "            emailAdress",
        "emailReceivers has no property emailAdress; did you mean emailAddress?",
    ),
    "a property at the wrong depth": (
        VAULT,
        "  properties: {\n    tenantId: tenant().tenantId\n",
        "  tenantId: tenant().tenantId\n  properties: {\n",
        "  tenantId:",
        "vault has no property tenantId",
    ),
    "an entry of an array without what it needs": (
        ALERTS,
        "          skipMetricValidation: true\n",
        "",
        "        {\n          criterionType",
        "serverErrors lacks properties.criteria.allOf.skipMetricValidation",
    ),
    "an entry of a loop without what it is asked for": (
        ALERTS,
        "    windowSize: 'PT30M'\n    query: refusedQuery\n",
        "    query: refusedQuery\n",
        "  {\n    name: 'refused'",
        "rule has no windowSize here",
    ),
    "a resource type that is misspelt": (
        APP,
        "'Microsoft.Web/sites@2025-03-01'",
        "'Microsoft.Web/site@2025-03-01'",
        "resource site ",
        "did you mean Microsoft.Web/sites?",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_name_that_azure_has_not_is_reported(tmp_path: Path, mistake: str) -> None:
    assert_reported(tmp_path, BROKEN[mistake])
