"""Commands of an agent that knows who it is."""

from __future__ import annotations

from app.agent.commands import About, Commands
from app.composition.job_chat import HELP as JOB_HELP
from app.composition.job_chat import JobChat
from app.composition.schedules import Schedules
from app.databricks.current_user import CurrentUser
from app.messaging.conversation_references import ConversationReferences
from app.storage.conversations import ConversationHistory, ConversationKey
from app.turns.answer_removal import AnswerRemoval

ANN = CurrentUser("ann@example.com", "Ann")


def commands_of(
    log: ConversationHistory,
    user: CurrentUser | None = ANN,
    references: ConversationReferences | None = None,
    schedules: Schedules | None = None,
    removal: AnswerRemoval | None = None,
    job_chat: JobChat | None = None,
) -> Commands:
    async def about() -> About:
        return About("m", "w.example", "personal access token", user)

    async def forget(conversation: ConversationKey) -> None:
        await log.forget(conversation)
        if references is not None and not conversation.thread:
            await references.forget(conversation)
        if schedules is not None:
            await schedules.forget(conversation)
        if job_chat is not None:
            await job_chat.forget(conversation)

    return Commands(
        forget,
        about,
        with_words={
            **({"/schedule": schedules.command} if schedules else {}),
            **(job_chat.commands if job_chat else {}),
        },
        remove=removal.remove_last if removal else None,
        is_wanted=schedules.is_wanted if schedules else None,
        help_lines=[JOB_HELP] if job_chat else [],
    )
