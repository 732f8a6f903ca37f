"""A bot in chats that watch the stand-in's job, and what its people do there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.composition.job_chat import JobChat, JobWatchParts
from app.jobs.chat.job_notice import ChatNotifier
from app.jobs.incidents.incident import Incident, NoticeKind
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import JobPolicy, Person
from app.jobs.notifications.notifier import Notice
from app.local.connector_server import ConnectorCall
from app.messaging.conversation_references import ConversationReferences
from app.messaging.job_messages import JOB_VERBS
from app.storage.documents import DocumentStore
from app.storage.queue import Queue
from tests.fakes.bots import Bot, bots
from tests.fakes.job_service import JobService, job_service
from tests.jobs.chat.sample_incidents import ANN, BOB, INCIDENT, NOW, OLGA, POLICY, TENANT

WORKSPACE = INCIDENT.workspace
CHANNEL = {"id": "19:team@thread.tacv2", "conversationType": "channel", "tenantId": TENANT}
GROUP = {"id": "19:group@thread.v2", "conversationType": "groupChat", "tenantId": TENANT}
PERSONAL = {"id": "a:1", "conversationType": "personal", "tenantId": TENANT}
MESSAGE = "application/vnd.microsoft.activity.message"
BOT_MENTION = [{"type": "mention", "mentioned": {"id": "28:bot"}, "text": "<at>Bricks</at>"}]


def channel_user_id(person: Person) -> str:
    return f"29:{person.entra_object_id[:1]}"


def member(person: Person, **more: Any) -> dict[str, Any]:
    told = {
        "id": channel_user_id(person),
        "name": person.name,
        "aadObjectId": person.entra_object_id,
        "email": person.email,
        "userPrincipalName": person.email,
        "tenantId": TENANT,
        "userRole": "user",
    }
    return {**told, **more}


@dataclass
class JobChats:
    """`carried_out` are the ids of incidents whose approved retry was begun; `carry_out` may fail instead."""

    make_bot: Callable[..., Bot]
    jobs: JobService
    policy: JobPolicy = POLICY
    carried_out: list[str] = field(default_factory=list)
    carry_out: Callable[[str], Awaitable[object]] | None = None
    job_id: int = 0
    now: float = NOW + 3600.0

    def bot(self, *replies: Any, **options: Any) -> Bot:
        bot = self.make_bot(*replies, jobs=self._job_chat, **options)
        bot.connector.members = [member(ANN), member(BOB), member(OLGA)]
        return bot

    def _job_chat(
        self, documents: DocumentStore, references: ConversationReferences, queue: Queue, _: object
    ) -> JobChat:
        async def carry_out(incident_id: str) -> None:
            if self.carry_out is not None:
                await self.carry_out(incident_id)
            self.carried_out.append(incident_id)

        parts = JobWatchParts(WORKSPACE, lambda *_: self.policy, carry_out)
        return JobChat(documents, references, queue, self.jobs.workspace, lambda: parts, clock=lambda: self.now)

    def incident(self, **changes: Any) -> Incident:
        """Of the stand-in's job."""
        failure = replace(INCIDENT.failure, job_id=self.job_id)
        runs = tuple(run.model_copy(update={"job_id": self.job_id}) for run in INCIDENT.runs)
        update = {"job_id": self.job_id, "failure": failure, "runs": runs}
        return INCIDENT.model_copy(update={**update, **changes})


@asynccontextmanager
async def job_chats(
    folder: Path, viewers: tuple[str, ...] = ("ann@example.com", "bob@example.com")
) -> AsyncIterator[JobChats]:
    async with job_service() as jobs, bots(folder) as make_bot:
        chats = JobChats(make_bot, jobs)
        chats.job_id = jobs.add(name="nightly_etl", viewers=viewers)
        yield chats


def incidents_of(bot: Bot) -> IncidentStore:
    return IncidentStore(bot.documents, workspace=WORKSPACE)


def said_by(
    bot: Bot, person: Person, text: str, conversation: Mapping[str, Any] = GROUP, **more: Any
) -> dict[str, Any]:
    sender = {"id": channel_user_id(person), "name": person.name, "aadObjectId": person.entra_object_id}
    activity = bot.activity(
        f"<at>Bricks</at> {text}",
        channelId="msteams",
        conversation=dict(conversation),
        channelData={"tenant": {"id": TENANT}},
        entities=BOT_MENTION,
        **{"from": sender},
    )
    return {**activity, **more}


async def say(bot: Bot, person: Person, text: str, conversation: Mapping[str, Any] = GROUP, **more: Any) -> str:
    """What the bot answers."""
    await bot.send(said_by(bot, person, text, conversation, **more))
    return bot.messages[-1]


async def press(
    bot: Bot,
    person: Person,
    button: Mapping[str, Any],
    conversation: Mapping[str, Any] = GROUP,
    inputs: Mapping[str, str] | None = None,
    **more: Any,
) -> str:
    """What the person reads: the first fact of a card, or else a message or an error."""
    data = {**button["data"], **(inputs or {})}
    value = {"action": {"type": "Action.Execute", "verb": button["verb"], "data": data}, "trigger": "manual"}
    activity = said_by(bot, person, "", conversation, type="invoke", name="adaptiveCard/action", value=value)
    answer = await bot.send({**activity, **more})
    assert answer.status == 200
    shown = json.loads(answer.body)["value"]
    if isinstance(shown, str):
        return shown
    return str(shown["body"][0]["facts"][0]["value"] if "body" in shown else shown["message"])


async def tell(bot: Bot, incident: Incident, kind: NoticeKind = "opened", id: str = "") -> None:
    """As a pass does it: the incident is stored, and its notice is put on the queue."""
    store = incidents_of(bot)
    if await store.find(incident.id) is None:
        await store.create(incident)
    notice = Notice(id or f"{incident.id}-{kind}", kind, incident.changed_at_seconds, incident)
    await ChatNotifier(bot.queue).notify(notice)
    await handle_all(bot)


async def handle_all(bot: Bot) -> None:
    while await bot.handle_queue():
        pass


def cards(bot: Bot) -> list[ConnectorCall]:
    """Every message with a card of an incident, edits among them."""
    return [call for call in bot.connector.calls if any(verb in _text(call) for verb in JOB_VERBS)]


def id_of(bot: Bot, posted: ConnectorCall) -> str:
    """That the channel gave to a message."""
    return f"activity-{sum(call.method == 'POST' and call.number <= posted.number for call in bot.connector.calls)}"


def buttons(call: ConnectorCall) -> dict[str, dict[str, Any]]:
    """By their titles, those of forms too."""
    (drawn,) = call.activity["attachments"]
    card = drawn["content"]
    actions = [*card["actions"], *(a for element in card["body"] for a in element.get("actions", []))]
    return {action["title"]: action for action in actions if action["type"] == "Action.Execute"}


def replies(bot: Bot) -> list[str]:
    """What was said after the first card, edits left out."""
    return [call.text for call in bot.connector.calls if call.is_message and "attachments" not in call.activity]


def _text(call: ConnectorCall) -> str:
    return json.dumps(call.activity.get("attachments", ""))


def unhurried(monkeypatch: Any) -> None:
    """No pause between the messages of a chat."""
    monkeypatch.setattr("app.bot.job_notices._SECONDS_BETWEEN_MESSAGES", 0.0)
