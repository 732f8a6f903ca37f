"""What chats that watch a job are told of its incidents: a first message with the card, then replies in its thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from app.bot.channel import channel_of
from app.bot.connector.send_errors import ConversationClosedError, SendRefusedError, ThrottledError
from app.bot.inbound.conversation_reference import target_of
from app.bot.proactive_messages import ConversationThrottle
from app.bot.rendering import activities
from app.bot.rendering.adaptive_card import adaptive_card, attachment
from app.bot.rendering.block_markdown import markdown
from app.bot.rendering.markdown import render
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.common.json_values import items, mapping, text
from app.content.data_text import as_data
from app.jobs.chat.incident_message import headline, incident_blocks, said_of
from app.jobs.chat.incident_threads import IncidentThreads
from app.jobs.chat.job_notice import PRESS, ChatNotifier, JobNotice
from app.jobs.chat.job_viewers import policy_for
from app.jobs.chat.watches import Watches, chat_digest
from app.jobs.incidents.incident import Incident, NoticeKind
from app.jobs.incidents.incident_sentences import OWNERS
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import Person, PolicyOf
from app.messaging.conversation_members import ConversationMember, ConversationMembers, MembersUnavailableError
from app.messaging.conversation_references import ConversationReference, ConversationReferences
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from app.translation import translator_for
from app.turns.idempotency import ActionInProgressError, IdempotentAction, IdempotentActions
from app.turns.queue_message import UnreadableMessageError, wrong_fields

_log = logging.getLogger(__name__)

Json = dict[str, Any]

_BEGIN: Final[frozenset[NoticeKind]] = frozenset({"opened", "proposed", "repeated", "escalated", "retry_failed"})
"""After what else nothing is said where the chat was not told of the incident before."""

_SECONDS_BETWEEN_MESSAGES = 2.0
_MAX_WAIT_SECONDS = 5.0
_THROTTLED_SECONDS = 30.0
_IN_PROGRESS_SECONDS = 10.0
_MAX_OWNERS = 5
_MAX_UPDATES = 3


@dataclass(frozen=True, slots=True)
class _Chat:
    key: ConversationKey
    reference: ConversationReference
    locale: str

    def thread(self, activity_id: str) -> str:
        """Of the message with that id: Teams has threads in channels alone."""
        return activity_id if self.reference.conversation_type == "channel" else ""


class JobNotices:
    """The handler of queue messages of the kind `job_notice`."""

    def __init__(
        self,
        adapter: ChannelAdapter,
        actions: IdempotentActions,
        references: ConversationReferences,
        members: ConversationMembers,
        incidents: IncidentStore,
        watches: Watches,
        threads: IncidentThreads,
        notifier: ChatNotifier,
        policy_of: PolicyOf,
    ) -> None:
        self._adapter = adapter
        self._actions = actions
        self._references = references
        self._members = members
        self._incidents = incidents
        self._watches = watches
        self._threads = threads
        self._notifier = notifier
        self._policy_of = policy_of
        self._throttle = ConversationThrottle(_SECONDS_BETWEEN_MESSAGES)

    async def deliver(self, body: bytes) -> None:
        """What it raises lets the host deliver the message again."""
        try:
            notice = JobNotice.model_validate_json(body)
        except ValidationError as error:
            raise UnreadableMessageError(wrong_fields(error)) from None
        incident = await self._incidents.find(notice.incident)
        if incident is None:
            _log.info("A notice is dropped: there is no incident of its id any more")
        elif notice.key is None:
            await self._spread(notice, incident)
        else:
            await self._deliver_to(notice.key, notice)

    async def _spread(self, notice: JobNotice, incident: Incident) -> None:
        """To a message for each chat: one that fails holds up none of the others."""
        for watch in await self._watches.of_jobs(frozenset(incident.job_ids)):
            update = {"tenant": watch.tenant, "conversation": watch.conversation, "locale": watch.locale}
            await self._notifier.put(notice.model_copy(update=update))

    async def _deliver_to(self, key: ConversationKey, notice: JobNotice) -> None:
        reference = await self._references.find(key)
        if reference is None:
            _log.info("The watches of a chat are removed: the bot cannot write to it any more")
            await self._watches.forget(key)
            return
        wait_seconds, reserved = self._throttle.reserve(key, _MAX_WAIT_SECONDS)
        if not reserved:
            await self._notifier.put(notice, after_seconds=wait_seconds)
            return
        await asyncio.sleep(wait_seconds)
        try:
            await self._tell_once(_Chat(key, reference, reference.locale or notice.locale), notice)
        except ConversationClosedError as refusal:
            _log.info("A chat is closed to the bot (%s); its watches are deleted", refusal)
            await self._references.forget(key)
            await self._watches.forget(key)
        except ThrottledError as throttled:
            await self._notifier.put(notice, after_seconds=throttled.retry_after_seconds or _THROTTLED_SECONDS)
        except ActionInProgressError:
            await self._notifier.put(notice, after_seconds=_IN_PROGRESS_SECONDS)

    async def _tell_once(self, chat: _Chat, notice: JobNotice) -> None:
        async def tell() -> Json:
            await self._tell(chat, notice)
            return {}

        key = chat.key
        await self._actions.once(IdempotentAction(key.tenant, f"job_notice/{notice.id}/{chat_digest(key)}"), tell)

    async def _tell(self, chat: _Chat, notice: JobNotice) -> None:
        key = chat.key
        is_new = False
        card = IdempotentAction(key.tenant, f"job_card/{notice.incident}/{chat_digest(key)}")

        async def begin() -> Json:
            nonlocal is_new
            is_new = True
            return await self._post_card(chat, notice.incident)

        if notice.what in _BEGIN:
            posted = await self._actions.once(card, begin)
        elif (known := await self._actions.result_of(card)) is not None:
            posted = known
        else:
            return
        if not is_new:
            await self._update_card(chat, notice.incident, posted)
            await self._reply(chat, notice, posted)

    async def _post_card(self, chat: _Chat, incident_id: str) -> Json:
        incident = await self._incidents.find(incident_id)
        if incident is None:
            return {}
        mentioned = await self._mentioned(chat, policy_for(incident, self._policy_of).owners)
        sender = self._adapter.sender_to(target_of(chat.reference))
        activity_id = await sender.post(self._card_message(chat, incident, mentioned)) or ""
        try:
            await self._threads.add(chat.key, activity_id, incident.id)
        except StorageError as failure:
            # Raised, it would post the card again.
            _log.warning("Which incident a thread is about could not be stored (%s)", type(failure).__name__)
        proposal = incident.proposal.id if incident.proposal is not None else ""
        return {"activity_id": activity_id, "mentioned": mentioned, "proposal": proposal}

    async def _update_card(self, chat: _Chat, incident_id: str, posted: Json) -> None:
        """Until it shows what the store says: another worker may bring older news in the same moment."""
        activity_id, mentioned = text(posted.get("activity_id")), [*map(mapping, items(posted.get("mentioned")))]
        sender = self._adapter.sender_to(target_of(chat.reference, chat.thread(activity_id)))
        shown: Incident | None = None
        for _ in range(_MAX_UPDATES):
            incident = await self._incidents.find(incident_id)
            if incident is None or incident == shown or not activity_id:
                return
            try:
                await sender.update(activity_id, self._card_message(chat, incident, mentioned))
            except SendRefusedError as refusal:
                # Teams answers 403 where somebody deleted the message: whether the chat is closed says a reply.
                # https://github.com/microsoft/BotFramework-Services/issues/269
                _log.info("The channel did not update the card of an incident (%s)", refusal)
                return
            shown = incident

    async def _reply(self, chat: _Chat, notice: JobNotice, posted: Json) -> None:
        incident, activity_id = await self._incidents.find(notice.incident), text(posted.get("activity_id"))
        if incident is None:
            return
        if notice.what == "proposed" and incident.proposal and incident.proposal.id == posted.get("proposal"):
            # It stood on the first message.
            return
        by_press = notice.id.startswith(PRESS)
        said = said_of(notice.what, incident, notice.text, translator_for(chat.locale), by_press=by_press)
        if said:
            sender = self._adapter.sender_to(target_of(chat.reference, chat.thread(activity_id)))
            await sender.post(activities.message(render(said)))

    def _card_message(self, chat: _Chat, incident: Incident, mentioned: Sequence[Json]) -> Json:
        reference, translate = chat.reference, translator_for(chat.locale)
        channel = channel_of(reference.channel_id, conversation_type=reference.conversation_type)
        blocks = incident_blocks(incident, policy_for(incident, self._policy_of), translate)
        in_text = [markdown(block, translate) for block in blocks if block.kind not in channel.cards]
        said = [render(headline(incident, translate)), *in_text]
        if mentioned:
            # Behind what is rendered, which shows tags as they are.
            said.append(translate(OWNERS, names=", ".join(text(each.get("shown")) for each in mentioned)))
        message = activities.message("\n\n".join(said))
        entities = [each["entity"] for each in mentioned if "entity" in each]
        if entities:
            message["entities"] = entities
        card = adaptive_card([block for block in blocks if block.kind in channel.cards], translate)
        return message if card is None else {**message, "attachments": [attachment(card)]}

    async def _mentioned(self, chat: _Chat, owners: Sequence[Person]) -> list[Json]:
        """As they are shown, with the entity that notifies those who are members of the chat."""
        members = await asyncio.gather(*(self._member(chat, owner) for owner in owners[:_MAX_OWNERS]))
        found = []
        for owner, member in zip(owners, members, strict=False):
            if member is not None and member.user_id:
                found.append(_mention(member.user_id, member.name or owner.name))
            elif owner.name:
                found.append({"shown": render(as_data(owner.name))})
        return found

    async def _member(self, chat: _Chat, person: Person) -> ConversationMember | None:
        reference = chat.reference
        channel = channel_of(reference.channel_id, conversation_type=reference.conversation_type)
        if not channel.mentions_people or person.tenant_id.casefold() != chat.key.tenant.casefold():
            return None
        try:
            return await self._members.find_by_entra_id(chat.key, person.entra_object_id)
        except MembersUnavailableError:
            _log.warning("The owner of a job is not mentioned: the channel does not tell of its members")
            return None


def _mention(user_id: str, name: str) -> Json:
    """Teams wants the text of the entity in the message, to the letter:
    https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/channel-and-group-conversations
    """
    plain = " ".join("".join(each if each.isalnum() or each in "-'.," else " " for each in name).split())[:80] or "?"
    shown = f"<at>{plain}</at>"
    entity = {"type": "mention", "text": shown, "mentioned": {"id": user_id, "name": plain}}
    return {"shown": shown, "entity": entity}
