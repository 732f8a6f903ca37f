"""Who may see a job in chats: who may see it in the workspace, or is named by its policy. Never a guest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from app.common.caller import Caller
from app.common.json_values import count, items, mapping, text
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceError, WorkspaceNotFoundError, WorkspacePermissionError
from app.databricks.workspace_users import WorkspaceUsers
from app.jobs.incidents.incident import Incident
from app.jobs.job_policy import JobPolicy, PolicyOf
from app.messaging.conversation_members import ConversationMembers, MembersUnavailableError
from app.storage.conversations import ConversationKey
from app.translation import Sentence

_log = logging.getLogger(__name__)

UNKNOWN_PERSON = Sentence(
    "I cannot tell who you are here, so I cannot show you jobs. Please ask me in Microsoft Teams."
)
GUEST = Sentence("Guests cannot see jobs. Please ask somebody in the organization.")
MEMBERS_UNAVAILABLE = Sentence("Microsoft Teams did not tell me who you are. Please try again in a minute.")

# A group that every user of the workspace is in, and that is not always told.
_ALL_USERS = "users"
_MAX_JOBS = 50
_MAX_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Job:
    """`tags` may be unknown: then only a policy for its id or name counts."""

    id: int
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any], id: int = 0) -> Job:
        """As the Jobs API tells of it."""
        settings = mapping(told.get("settings"))
        id = count(told.get("job_id")) or id
        tags = {name: text(value) for name, value in mapping(settings.get("tags")).items()}
        return cls(id, text(settings.get("name")) or str(id), tags)


def policy_for(incident: Incident, policy_of: PolicyOf) -> JobPolicy:
    return policy_of(incident.job_id, incident.job_name, incident.job_tags)


class UnknownAskerError(Exception):
    """Somebody whom nothing about jobs is told; `sentence` says why."""

    def __init__(self, sentence: Sentence) -> None:
        super().__init__(sentence.english)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Asker:
    """A member of a conversation, and no guest. `addresses` are what the workspace may know them by."""

    tenant_id: str
    entra_object_id: str
    name: str
    addresses: tuple[str, ...]


class JobViewers:
    def __init__(self, api: JobsApi, users: WorkspaceUsers, members: ConversationMembers, policy_of: PolicyOf) -> None:
        self._api = api
        self._users = users
        self._members = members
        self._policy_of = policy_of

    async def identify(self, conversation: ConversationKey, caller: Caller) -> Asker:
        """Raises `UnknownAskerError` and `StorageError`."""
        if not caller.tenant_id or not caller.entra_object_id:
            raise UnknownAskerError(UNKNOWN_PERSON)
        try:
            member = await self._members.find(conversation, caller)
        except MembersUnavailableError:
            raise UnknownAskerError(MEMBERS_UNAVAILABLE) from None
        if member is None:
            raise UnknownAskerError(UNKNOWN_PERSON)
        if member.is_guest:
            raise UnknownAskerError(GUEST)
        if member.entra_object_id.casefold() != caller.entra_object_id.casefold():
            raise UnknownAskerError(UNKNOWN_PERSON)
        return Asker(caller.tenant_id, caller.entra_object_id, caller.name, member.addresses)

    async def visible(self, asker: Asker, jobs: Iterable[Job]) -> frozenset[int]:
        """The ids of those of the first 50 that the person may see. Raises
        `app.databricks.workspace_errors.WorkspaceError`.
        """
        wanted = dict(islice({job.id: job for job in jobs}.items(), _MAX_JOBS))
        named = {job_id for job_id, job in wanted.items() if self._is_named(asker, job)}
        at_once = asyncio.Semaphore(_MAX_AT_ONCE)

        async def entries(job_id: int) -> tuple[int, list[Mapping[str, Any]]]:
            async with at_once:
                return job_id, await self._access_control_list(job_id)

        lists = await asyncio.gather(*(entries(job_id) for job_id in wanted if job_id not in named))
        addresses = {address.casefold() for address in asker.addresses}
        direct = {job_id for job_id, acl in lists if addresses & {text(e.get("user_name")).casefold() for e in acl}}
        by_group = {job_id: {text(entry.get("group_name")) for entry in acl} - {""} for job_id, acl in lists}
        undecided = {job_id: groups for job_id, groups in by_group.items() if groups and job_id not in direct}
        mine = await self._groups(asker) if undecided else frozenset()
        return frozenset(named | direct | {job_id for job_id, groups in undecided.items() if groups & mine})

    def _is_named(self, asker: Asker, job: Job) -> bool:
        policy = self._policy_of(job.id, job.name, job.tags)
        people = (*policy.viewers, *policy.approvers, *policy.owners)
        return any(person.is_same(asker.tenant_id, asker.entra_object_id) for person in people)

    async def _access_control_list(self, job_id: int) -> list[Mapping[str, Any]]:
        try:
            permissions = await self._api.permissions(job_id)
        except (WorkspaceNotFoundError, WorkspacePermissionError):
            return []
        entries = map(mapping, items(permissions.get("access_control_list")))
        # Each level, from CAN_VIEW up, includes to view.
        return [entry for entry in entries if items(entry.get("all_permissions"))]

    async def _groups(self, asker: Asker) -> frozenset[str]:
        try:
            user = await self._users.find(asker.addresses)
        except WorkspaceError as failure:
            _log.warning("The groups of a person could not be read (%s)", type(failure).__name__)
            return frozenset()
        return frozenset() if user is None else user.groups | {_ALL_USERS}
