"""What a person can type instead of a question."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from app.agent.events import Answer
from app.agent.tool_list import tool_list
from app.agent.turn import EmptyReason, Turn
from app.agent.user_messages import NO_CARD_TEXT, NO_COPILOT_TEXT, NO_EDIT_TEXT, NO_TEXT
from app.common.caller import Caller
from app.databricks.current_user import CurrentUser
from app.storage.conversations import ConversationKey
from app.tools.registry import ToolRegistry
from app.translation import Sentence, Translator, translator_for

HELP = Sentence("""\
Ask me anything in your own words; I answer with a model in your Databricks workspace and remember this conversation.

- **/forget** – start afresh: I delete what I have kept of this conversation
- **/tools** – what I can use to answer
- **/schedule** – ask a question again, such as every Monday at 8
- **/remove** – delete my last answer
- **/about** – which model answers, and with whose access
- **/help** – this text

In a group or channel, mention me so that I know you mean me.""")

FORGOTTEN = Sentence(
    "Done: I have deleted what was said in this conversation, and we start afresh. What stands in the chat itself is "
    "yours to delete."
)

# "/reset" is another name for "/forget", which other bots have taught people.
_KNOWN = ("/help", "/about", "/tools", "/schedule", "/remove", "/forget", "/reset")
# Typed by people who do not know the commands, in the languages of the manifest.
_HELP_WORDS = frozenset({"help", "hilfe", "aide", "ayuda", "ヘルプ"})
_COMMAND = re.compile(r"/[^\W\d_][\w-]{0,30}")
_COMMAND_PADDING = "`*\"'“”„«»‘’「」.!? "
_MAX_COMMAND_CHARACTERS = 60
_MAX_NAME_CHARACTERS = 80
_NO_WORDS_TEXTS = {
    EmptyReason.CARD: NO_CARD_TEXT,
    EmptyReason.EDIT: NO_EDIT_TEXT,
    EmptyReason.COPILOT: NO_COPILOT_TEXT,
    EmptyReason.NOTHING: NO_TEXT,
}


@dataclass(frozen=True, slots=True)
class About:
    """`credential` is the kind of sign-in; `user` who that is, None where the workspace does not say."""

    model: str
    workspace: str
    credential: str
    user: CurrentUser | None = None


class Commands:
    """`forget` deletes what is stored of a conversation, or raises. `tools` finds those of a caller. `with_words` are
    the commands that are followed by words, each with what does as they say; `help_lines` tell of those that not every
    installation has. `remove` deletes the last answer and says what became of it. `is_wanted` says whether a scheduled
    question is still to be asked.
    """

    def __init__(
        self,
        forget: Callable[[ConversationKey], Awaitable[object]],
        about: Callable[[], Awaitable[About]],
        tools: Callable[[Caller, ConversationKey], Awaitable[ToolRegistry]] | None = None,
        with_words: Mapping[str, Callable[[Turn, str], Awaitable[Answer]]] | None = None,
        remove: Callable[[Turn], Awaitable[Sentence]] | None = None,
        is_wanted: Callable[[Turn], Awaitable[bool]] | None = None,
        help_lines: Sequence[Sentence] = (),
    ) -> None:
        self._forget = forget
        self._about = about
        self._tools = tools
        self._with_words = with_words or {}
        self._remove = remove
        self._is_wanted = is_wanted
        self._help_lines = help_lines
        self._known = (*_KNOWN, *(command for command in self._with_words if command not in _KNOWN))

    async def answer(self, turn: Turn) -> Answer | None:
        """None if the question is not a command."""
        if turn.is_scheduled and self._is_wanted is not None and not await self._is_wanted(turn):
            return Answer("", by_model=False)
        if turn.call is not None or turn.is_scheduled:
            return None
        command, *words = turn.question.split(None, 1) or [""]
        if (do := self._with_words.get(_as_command(command))) is not None:
            return await do(turn, words[0] if words else "")
        text = await self._text(turn)
        return None if text is None else Answer(text, by_model=False)

    async def _text(self, turn: Turn) -> str | None:
        translate = translator_for(turn.locale)
        question = turn.question.strip()
        if not question:
            if turn.unread:
                return None
            said = _NO_WORDS_TEXTS.get(turn.empty_reason)
            return self._help(translate) if said is None else translate(said)
        word = _as_command(question)
        if word in _HELP_WORDS:
            return self._help(translate)
        match word:
            case "/help":
                return self._help(translate)
            case "/about":
                return _about_text(await self._about(), translate)
            case "/tools":
                registry = await self._tools(turn.caller, turn.conversation) if self._tools else ToolRegistry()
                return tool_list(registry, translate)
            case "/forget" | "/reset":
                await self._forget(turn.conversation)
                return translate(FORGOTTEN)
            case "/remove" if self._remove is not None:
                return translate(await self._remove(turn))
        return _unknown_command_text(word, self._known, translate)

    def _help(self, translate: Translator) -> str:
        return "\n\n".join(map(translate, (HELP, *self._help_lines)))


def _as_command(question: str) -> str:
    """A short question in lower case, without quotation marks around it, and with full-width letters as ASCII."""
    if len(question) > _MAX_COMMAND_CHARACTERS:
        return question.lower()
    return unicodedata.normalize("NFKC", question).lower().strip(_COMMAND_PADDING)


_ABOUT = Sentence("""\
Model: **{model}**

Workspace: {workspace}

Identity: {identity}

Sign-in: {credential}

Everybody who talks to me here sees what that identity may see.""")


def _about_text(about: About, translate: Translator) -> str:
    return translate(
        _ABOUT,
        model=about.model,
        workspace=about.workspace,
        identity=_user_text(about.user, translate),
        credential=translate(Sentence(about.credential)),
    )


def _user_text(user: CurrentUser | None, translate: Translator) -> str:
    if user is None:
        return translate(Sentence("the workspace did not say who it is; please ask again later"))
    user_name, name = _as_code(user.user_name), _as_code(user.display_name)
    if not user.is_service_principal:
        return translate(Sentence("the user {name}"), name=user_name)
    return translate(Sentence("the service principal {name}"), name=f"{name} ({user_name})" if name else user_name)


def _as_code(name: str) -> str:
    shown = "".join(c for c in name if c.isprintable() and c != "`").strip()[:_MAX_NAME_CHARACTERS]
    return f"`{shown}`" if shown else ""


def _unknown_command_text(word: str, known: Sequence[str], translate: Translator) -> str | None:
    """The answer to an unknown command, or to one with words after it; None for every other question."""
    command, _, more = word.partition(" ")
    if more and command in known:
        # A model would answer that it has forgotten everything, while nothing is deleted.
        alone = Sentence("If you mean the command **{command}**, send it alone, without other words.")
        return translate(alone, command=command)
    if more or not _COMMAND.fullmatch(command):
        return None
    from difflib import get_close_matches  # noqa: PLC0415 - a millisecond that no first answer needs

    (nearest,) = get_close_matches(command, known, n=1) or ("",)
    if nearest:
        suggestion = Sentence("I do not know the command `{command}`. Did you mean **{nearest}**?")
        return translate(suggestion, command=command, nearest=nearest)
    return translate(
        Sentence("I do not know the command `{command}`. Type **/help** to see those that I know."), command=command
    )
