"""A Foundry project's classic agents, threads and runs, through `AgentsClient` of azure-ai-agents 1.1.

They end on 2027-03-31: https://learn.microsoft.com/azure/foundry-classic/agents/how-to/tools-classic/azure-functions
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from app.foundry.agents.foundry_calls import FoundryCalls, Repeat
from app.foundry.agents.foundry_errors import NoEndError, NotFoundError, RefusedError
from app.foundry.agents.project_resources import ProjectResources
from app.foundry.agents.sign_in import client_options

if TYPE_CHECKING:
    from azure.ai.agents.aio import AgentsClient
    from azure.core.async_paging import AsyncItemPaged

_Result = TypeVar("_Result")

_PAGE_ITEMS = 100
_NOT_INSTALLED = (
    "The classic way needs the package azure-ai-agents: pip install azure-ai-agents==1.1.0, the extra foundry-classic."
)


@dataclass(frozen=True, slots=True)
class ClassicAgent:
    """`body` is the agent as the service tells it."""

    id: str
    name: str
    metadata: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredThread:
    id: str
    metadata: Mapping[str, str]


class ClassicProject:
    """Raises `FoundryError`. What is deleted and not there counts as deleted. Runs, messages and steps are the JSON of
    the service, in which there may be more than the package knows.
    """

    def __init__(self, endpoint: str, client: AgentsClient, calls: FoundryCalls) -> None:
        self.resources = ProjectResources(endpoint, client.send_request, calls)
        self._client = client
        self._calls = calls

    async def agents(self) -> tuple[ClassicAgent, ...]:
        """The newest first: two may have one name."""
        listed = await self._listed(
            "list the agents", lambda: self._client.list_agents(limit=_PAGE_ITEMS, order="desc")
        )
        return tuple(_agent(each) for each in listed)

    async def create_agent(self, body: Mapping[str, Any]) -> ClassicAgent:
        """Sent once: the service makes another agent each time."""
        create = self._client.create_agent
        made = await self._calls.make(f"create the agent {body['name']}", lambda: create(body=dict(body)), Repeat.NEVER)
        return _agent(_plain(made))

    async def update_agent(self, agent_id: str, body: Mapping[str, Any]) -> ClassicAgent:
        update = self._client.update_agent
        made = await self._read(f"change the agent {body['name']}", lambda: update(agent_id, body=dict(body)))
        return _agent(_plain(made))

    async def delete_agent(self, agent_id: str) -> None:
        await self._delete(f"delete the agent {agent_id}", lambda: self._client.delete_agent(agent_id))

    async def create_thread(self, metadata: Mapping[str, str]) -> str:
        create = self._client.threads.create
        made = await self._calls.make("create a thread", lambda: create(metadata=dict(metadata)), Repeat.IF_REFUSED)
        thread_id = _plain(made).get("id")
        if not thread_id:
            raise NoEndError("Foundry began a thread without an id.")
        return str(thread_id)

    async def threads(self) -> tuple[StoredThread, ...]:
        listed = await self._listed(
            "list the threads", lambda: self._client.threads.list(limit=_PAGE_ITEMS, order="desc")
        )
        return tuple(StoredThread(str(each.get("id") or ""), _strings(each.get("metadata"))) for each in listed)

    async def delete_thread(self, thread_id: str) -> None:
        await self._delete(f"delete the thread {thread_id}", lambda: self._client.threads.delete(thread_id))

    async def add_message(self, thread_id: str, text: str) -> None:
        create = self._client.messages.create
        await self._calls.make(
            "add the question to the thread",
            lambda: create(thread_id=thread_id, role="user", content=text),
            Repeat.IF_REFUSED,
        )

    async def messages(self, thread_id: str, run_id: str) -> tuple[Mapping[str, Any], ...]:
        """Those of the run, the oldest first."""
        messages = self._client.messages
        return await self._listed(
            "read the answer",
            lambda: messages.list(thread_id, run_id=run_id, limit=_PAGE_ITEMS, order="asc"),
        )

    async def start_run(
        self, thread_id: str, agent_id: str, metadata: Mapping[str, str], traceparent: str
    ) -> Mapping[str, Any]:
        """Sent again only where it was certainly not carried out: the agent's tools would run again."""
        create = self._client.runs.create
        made = await self._calls.make(
            "answer",
            lambda: create(thread_id, agent_id=agent_id, metadata=dict(metadata), headers={"traceparent": traceparent}),
            Repeat.IF_REFUSED,
        )
        return _plain(made)

    async def run(self, thread_id: str, run_id: str) -> Mapping[str, Any]:
        return _plain(await self._read(f"read the run {run_id}", lambda: self._client.runs.get(thread_id, run_id)))

    async def runs(self, thread_id: str) -> tuple[Mapping[str, Any], ...]:
        return await self._listed(
            f"list the runs of {thread_id}", lambda: self._client.runs.list(thread_id, limit=_PAGE_ITEMS)
        )

    async def cancel_run(self, thread_id: str, run_id: str) -> None:
        try:
            await self._delete(f"cancel the run {run_id}", lambda: self._client.runs.cancel(thread_id, run_id))
        except RefusedError as error:
            # One that has ended meanwhile cannot be cancelled.
            if error.status != 400:
                raise

    async def steps(self, thread_id: str, run_id: str) -> tuple[Mapping[str, Any], ...]:
        steps = self._client.run_steps
        return await self._listed(
            f"read the steps of {run_id}", lambda: steps.list(thread_id, run_id, limit=_PAGE_ITEMS, order="asc")
        )

    async def _listed(self, what: str, listing: Callable[[], AsyncItemPaged[Any]]) -> tuple[Mapping[str, Any], ...]:
        return tuple(map(_plain, await self._calls.all_of(what, listing)))

    async def _read(self, what: str, call: Callable[[], Awaitable[_Result]]) -> _Result:
        return await self._calls.make(what, call, Repeat.ALWAYS)

    async def _delete(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        with suppress(NotFoundError):
            await self._calls.make(what, call, Repeat.ALWAYS)


@asynccontextmanager
async def open_classic_project(endpoint: str, calls: FoundryCalls | None = None) -> AsyncIterator[ClassicProject]:
    """Raises `RefusedError` where the package is not installed."""
    try:
        from azure.ai.agents.aio import AgentsClient  # noqa: PLC0415 - an extra of its own
    except ImportError as error:
        raise RefusedError(_NOT_INSTALLED) from error
    async with client_options(endpoint) as options, AgentsClient(**options) as client:
        yield ClassicProject(endpoint, client, calls or FoundryCalls())


def _plain(model: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a model of the package, or its mapping
    """As the service sent it. The package fails at parts of some steps that it does not know:
    https://github.com/Azure/azure-sdk-for-python/issues/42689
    """
    return {key: _plain_value(model[key]) for key in model}


def _plain_value(value: object) -> object:
    if isinstance(value, MutableMapping):
        return _plain(value)
    return [_plain_value(each) for each in value] if isinstance(value, list) else value


def _agent(body: Mapping[str, Any]) -> ClassicAgent:
    return ClassicAgent(str(body.get("id") or ""), str(body.get("name") or ""), _strings(body.get("metadata")), body)


def _strings(metadata: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, Mapping) else {}
