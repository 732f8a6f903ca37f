"""The settings of who may call the tools of Foundry's agents over MCP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from app.settings.host_environment import HostEnvironment
from app.settings.section import GUID, Section, setting

_AUDIENCE, _CALLERS = "FOUNDRY_MCP_AUDIENCE", "FOUNDRY_MCP_CALLERS"


def _ids(value: object) -> object:
    if not isinstance(value, str):
        return value
    ids = frozenset(each.strip().lower() for each in value.split(",") if each.strip())
    if not all(re.fullmatch(GUID, each) for each in ids):
        raise PydanticCustomError("ids", "must be GUIDs, with commas between them")
    return ids


class FoundryMcpSettings(Section):
    title: ClassVar[str] = "Azure AI Foundry: who may call the tools over MCP, beside those who have the function key"

    audience: str = setting(
        _AUDIENCE,
        default="",
        left_out="nobody: tokens of Microsoft Entra ID are not taken",
        max_length=200,
        pattern=r"^[^\s,]*$",
        description=(
            "what the tokens of Foundry's identities are for, the application id URI of an app registration: "
            "api://<client id>. Then POST /api/mcp/entra takes them"
        ),
    )
    callers: Annotated[frozenset[str], BeforeValidator(_ids)] = setting(
        _CALLERS,
        default=frozenset(),
        left_out="required with FOUNDRY_MCP_AUDIENCE",
        description=(
            "the object ids or client ids, with commas, of the identities that may call: that of the Foundry project, "
            "or those of its agents"
        ),
    )

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        for name, other in ((_AUDIENCE, _CALLERS), (_CALLERS, _AUDIENCE)):
            if name in given and other not in given:
                yield f"{other}: missing; put {cls.setting_names()[other]}"
        if _AUDIENCE in given and "MicrosoftAppTenantId" not in given:
            yield "MicrosoftAppTenantId: missing; with FOUNDRY_MCP_AUDIENCE put the tenant of those identities"
