"""Where each hosting plan wants the runtime named, and what it refuses to be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ops.check.bicep.source import Declaration
from ops.check.bicep.values import Placed, Scope, members
from ops.check.problem import Problem

PLANS = ("consumption", "flex")

# Named by Azure when it refused deployments (error 51021): github.com/Azure/terraform-azurerm-avm-res-web-site/pull/345
_REFUSED_ON_FLEX = {
    *("alwaysOn", "ftpsState", "functionAppScaleLimit", "functionsRuntimeScaleMonitoringEnabled", "linuxFxVersion"),
    *("netFrameworkVersion", "preWarmedInstanceCount", "use32BitWorkerProcess", "windowsFxVersion"),
}


def check_plan(plan: str, scopes: Iterable[Scope]) -> list[Problem]:
    return [
        problem
        for scope in scopes
        for site in scope.file.resources("Microsoft.Web/sites")
        for problem in _of_site(plan, scope, site)
    ]


def _of_site(plan: str, scope: Scope, site: Declaration) -> Iterator[Problem]:
    if site.body is None:
        return
    place = Placed(scope, site.body)
    config = {name: values for at in place.at("properties", "siteConfig") for name, values in members(at).items()}
    has_flex_config = any(value.value is not None for value in place.at("properties", "functionAppConfig"))
    if plan == "flex":
        for name in sorted(_REFUSED_ON_FLEX & set(config)):
            key, value = config[name][0]
            yield value.scope.file.problem(f"Flex Consumption refuses {name} in siteConfig", key)
        if not has_flex_config:
            yield scope.file.problem(f"on the flex plan {site.name} lacks functionAppConfig", site.node)
        return
    if "linuxFxVersion" not in config:
        yield scope.file.problem(f"on the consumption plan {site.name} lacks linuxFxVersion in siteConfig", site.node)
    if has_flex_config:
        yield scope.file.problem(f"functionAppConfig of {site.name} is for Flex Consumption alone", site.node)
