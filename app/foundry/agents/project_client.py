"""A Foundry project: its agents, conversations and responses, through azure-ai-projects and its client of openai.

https://learn.microsoft.com/azure/foundry/reference/rest: conversations and responses can be listed there, for which
openai's package has no method.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from azure.identity.aio import get_bearer_token_provider

from app.common.net import path_segment
from app.foundry.agents.foundry_calls import CALL_SECONDS, FoundryCalls, Repeat
from app.foundry.agents.foundry_errors import NoEndError, NotFoundError, RefusedError
from app.foundry.agents.project_resources import ProjectResources
from app.foundry.agents.sign_in import client_options

if TYPE_CHECKING:
    import openai
    from azure.ai.projects.aio import AIProjectClient

_Result = TypeVar("_Result")

_PAGE_ITEMS = 100
_MAX_PAGES = 200


@dataclass(frozen=True, slots=True)
class AgentVersion:
    name: str
    version: str
    metadata: Mapping[str, str]
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """A conversation, or a response, whose `status` says whether it still runs."""

    id: str
    metadata: Mapping[str, str]
    status: str = ""


class FoundryProject:
    """Raises `FoundryError`. What is deleted and not there counts as deleted."""

    def __init__(
        self, endpoint: str, client: AIProjectClient, responses: openai.AsyncOpenAI, calls: FoundryCalls
    ) -> None:
        self.resources = ProjectResources(endpoint, client.send_request, calls)
        self._client = client
        self._openai = responses
        self._calls = calls

    async def agents(self) -> tuple[AgentVersion, ...]:
        """The latest version of each that has one."""
        listed = await self._calls.all_of(
            "list the agents", lambda: self._client.agents.list(kind="prompt", limit=_PAGE_ITEMS)
        )
        return tuple(latest for each in listed if (latest := _latest_version(each)) is not None)

    async def latest_version(self, name: str) -> AgentVersion | None:
        try:
            found = await self._read(f"read the agent {name}", lambda: self._client.agents.get(name))
        except NotFoundError:
            return None
        return _latest_version(found)

    async def versions(self, name: str) -> tuple[AgentVersion, ...]:
        """The newest first; none where there is no such agent."""

        list_versions = self._client.agents.list_versions
        try:
            listed = await self._calls.all_of(
                f"list the versions of {name}", lambda: list_versions(name, limit=_PAGE_ITEMS, order="desc")
            )
        except NotFoundError:
            return ()
        return tuple(map(_agent_version, listed))

    async def create_version(
        self, name: str, definition: Mapping[str, Any], description: str, metadata: Mapping[str, str]
    ) -> AgentVersion:
        """Sent once: the service makes another version each time."""
        body = {"definition": dict(definition), "description": description, "metadata": dict(metadata)}
        made = await self._calls.make(
            f"create the agent {name}", lambda: self._client.agents.create_version(name, body), Repeat.NEVER
        )
        return _agent_version(made)

    async def delete_agent(self, name: str) -> None:
        await self._delete(f"delete the agent {name}", lambda: self._client.agents.delete(name))

    async def delete_version(self, name: str, version: str) -> None:
        await self._delete(
            f"delete version {version} of {name}", lambda: self._client.agents.delete_version(name, version)
        )

    async def create_conversation(self, metadata: Mapping[str, str]) -> str:
        create = partial(self._openai.post, "/conversations", cast_to=object, body={"metadata": dict(metadata)})
        made = _mapping(await self._calls.make("create a conversation", create, Repeat.IF_REFUSED))
        if not made.get("id"):
            raise NoEndError("Foundry began a conversation without an id.")
        return str(made["id"])

    async def conversations(self) -> tuple[StoredItem, ...]:
        return await self._listed("conversations", {})

    async def delete_conversation(self, conversation_id: str) -> None:
        delete = partial(self._openai.delete, f"/conversations/{path_segment(conversation_id)}", cast_to=object)
        await self._delete(f"delete the conversation {conversation_id}", partial(_no_page, delete))

    async def create_response(self, body: Mapping[str, Any], traceparent: str) -> Mapping[str, Any]:
        """Sent again only where it was certainly not carried out: the agent's tools would run again."""
        create = partial(self._openai.post, "/responses", cast_to=object, body=dict(body))
        return _mapping(
            await self._calls.make(
                "answer", lambda: create(options={"headers": {"traceparent": traceparent}}), Repeat.IF_REFUSED
            )
        )

    async def response(self, response_id: str) -> Mapping[str, Any]:
        read = partial(self._openai.get, f"/responses/{path_segment(response_id)}", cast_to=object)
        return await self._read(f"read the response {response_id}", partial(_json_object, read))

    async def responses(self, agent_name: str) -> tuple[StoredItem, ...]:
        return await self._listed("responses", {"agent_name": agent_name})

    async def cancel_response(self, response_id: str) -> None:
        cancel = partial(self._openai.post, f"/responses/{path_segment(response_id)}/cancel", cast_to=object)
        try:
            await self._delete(f"cancel the response {response_id}", partial(_json_object, cancel))
        except RefusedError as error:
            # One that has ended meanwhile cannot be cancelled.
            if error.status != 400:
                raise

    async def delete_response(self, response_id: str) -> None:
        delete = partial(self._openai.delete, f"/responses/{path_segment(response_id)}", cast_to=object)
        await self._delete(f"delete the response {response_id}", partial(_no_page, delete))

    async def _listed(self, kind: str, filters: Mapping[str, str]) -> tuple[StoredItem, ...]:
        items: dict[str, StoredItem] = {}
        after: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            query = {"limit": str(_PAGE_ITEMS), "order": "desc", **filters, **after}
            read = partial(self._openai.get, f"/{kind}", cast_to=object, options={"params": query})
            try:
                page = await self._read(f"list the {kind}", partial(_json_list, read))
            except NotFoundError:
                if not filters:
                    raise
                # There is no such agent.
                break
            found = [_stored_item(each) for each in page.get("data") or ()]
            items |= {each.id: each for each in found if each.id}
            last = str(page.get("last_id") or (found[-1].id if found else ""))
            if not page.get("has_more") or not last or after.get("after") == last:
                break
            after = {"after": last}
        return tuple(items.values())

    async def _read(self, what: str, call: Callable[[], Awaitable[_Result]]) -> _Result:
        return await self._calls.make(what, call, Repeat.ALWAYS)

    async def _delete(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        with suppress(NotFoundError):
            await self._calls.make(what, call, Repeat.ALWAYS)


@asynccontextmanager
async def open_project(endpoint: str, calls: FoundryCalls | None = None) -> AsyncIterator[FoundryProject]:
    """Raises `RefusedError` where the package is not installed."""
    try:
        from azure.ai.projects.aio import AIProjectClient  # noqa: PLC0415 - an extra of its own
    except ImportError as error:
        raise RefusedError("The package azure-ai-projects is missing: pip install .[foundry]") from error
    async with (
        client_options(endpoint) as options,
        AIProjectClient(**options) as client,
        # Its own scope is that of Azure's public cloud alone.
        client.get_openai_client(
            api_key=get_bearer_token_provider(options["credential"], *options["credential_scopes"]),
            max_retries=0,
            timeout=CALL_SECONDS,
        ) as responses,
    ):
        yield FoundryProject(endpoint, client, responses, calls or FoundryCalls())


def _agent_version(version: Any) -> AgentVersion:  # noqa: ANN401 - a model of the package, or its mapping
    plain = version.as_dict() if hasattr(version, "as_dict") else dict(version)
    return AgentVersion(
        name=str(plain.get("name", "")),
        version=str(plain.get("version", "")),
        metadata=_strings(plain.get("metadata")),
        definition=_mapping(plain.get("definition")),
    )


def _latest_version(agent: Any) -> AgentVersion | None:  # noqa: ANN401 - a model of the package
    versions = agent.as_dict().get("versions")
    latest = versions.get("latest") if isinstance(versions, Mapping) else None
    return _agent_version(latest) if latest else None


def _stored_item(item: object) -> StoredItem:
    plain: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
    return StoredItem(str(plain.get("id") or ""), _strings(plain.get("metadata")), str(plain.get("status") or ""))


async def _json_object(call: Callable[[], Awaitable[object]]) -> Mapping[str, Any]:
    """Raises `ValueError` for the page of a proxy, which openai's package gives as text."""
    body = await call()
    if not isinstance(body, Mapping):
        raise ValueError("no JSON object")
    return body


async def _json_list(call: Callable[[], Awaitable[object]]) -> Mapping[str, Any]:
    page = await _json_object(call)
    if not isinstance(page.get("data") or [], list):
        raise ValueError("no list")
    return page


async def _no_page(call: Callable[[], Awaitable[object]]) -> None:
    body = await call()
    if isinstance(body, str) and body.strip():
        raise ValueError("no JSON")


def _mapping(body: object) -> Mapping[str, Any]:
    return body if isinstance(body, Mapping) else {}


def _strings(metadata: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, Mapping) else {}
