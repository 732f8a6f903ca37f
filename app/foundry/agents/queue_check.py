"""Whether the queues that the agents' tools use are there, as far as this machine can see."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential

from app.foundry.agents.agent_settings import AgentProgramSettings, FoundryAgentSettings, is_loopback_url
from app.foundry.agents.foundry_errors import RefusedError
from app.foundry.agents.orchestrator import Report
from app.foundry.agents.sign_in import project_credential
from app.storage.remote_queue import RemoteQueueRefusedError
from app.storage.storage_account import EMULATOR_ACCOUNT, EMULATOR_KEY
from app.storage.storage_errors import StorageError

_LOOKUP_SECONDS = 5.0


async def check_queues(settings: AgentProgramSettings, report: Report) -> None:
    """Raises `RefusedError` where one is missing. What cannot be seen from here is reported: Foundry may see it."""
    endpoint = settings.agents.queue_endpoint
    host = urlsplit(endpoint).hostname or ""
    if not await _is_known(host):
        report(
            f"warning: no storage account is known here as {host}: check STORAGE_SERVICE_ENDPOINT, else no question "
            "is answered."
        )
        return
    names = settings.tools.queue_names.values()
    wanted = [f"azure-function-{name}-{end}" for name in names for end in ("input", "output")]
    try:
        found = await _look_for(wanted, settings.agents)
    except StorageError as error:
        report(
            f"warning: {host} gave no answer ({error}), as from outside its private network, so whether it has the "
            "queues of the tools is not known."
        )
        return
    if missing := [name for name in wanted if found[name] is False]:
        raise RefusedError(
            f"The storage account at {host} has no queue {', '.join(missing)}: provision the Function App with these "
            "tools in foundryTools, or check STORAGE_SERVICE_ENDPOINT, FOUNDRY_TOOLS and FOUNDRY_TOOL_NAME."
        )
    if seen := [name for name in wanted if found[name] is True]:
        report(f"queues: {', '.join(seen)}")
    refused = {name: error for name, error in found.items() if not isinstance(error, bool)}
    if refused:
        report(
            f"warning: {host} does not let this identity see {', '.join(refused)} ({next(iter(refused.values()))}), so "
            "whether they are there is not known. It takes the role Storage Queue Data Reader on the account, and "
            "network rules that let this machine in."
        )


async def _is_known(host: str) -> bool:
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, 443)
    except (OSError, TimeoutError, UnicodeError):
        return False
    return True


async def _look_for(names: Sequence[str], agents: FoundryAgentSettings) -> Mapping[str, bool | RemoteQueueRefusedError]:
    from app.storage.azure.azure_clients import find_remote_queues  # noqa: PLC0415 - takes long

    if is_loopback_url(agents.queue_endpoint):
        # azure-core refuses to send tokens over http://.
        emulator = AzureNamedKeyCredential(EMULATOR_ACCOUNT, EMULATOR_KEY)
        return await find_remote_queues(agents.queue_endpoint, names, emulator)
    async with project_credential(agents.project_endpoint) as credential:
        return await find_remote_queues(agents.queue_endpoint, names, credential)
