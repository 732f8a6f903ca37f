"""What a person reads when something went wrong, as one sentence they can act on; and what the model is told."""

from __future__ import annotations

from math import ceil

from app.models import model_errors
from app.translation import Sentence, Translator

TURN_TIMED_OUT = Sentence("The answer took longer than allowed. Please ask again, or ask for less at once.")
INTERRUPTED = Sentence(
    "The answer was interrupted because this agent is being restarted. Please ask again in a moment."
)
GIVEN_UP = Sentence(
    "The answer was interrupted several times, and I have given up on it. Please ask again; if it happens again, give "
    "this error id to your administrator."
)
STORAGE_UNAVAILABLE = Sentence(
    "I cannot remember anything at the moment, so I cannot answer. Please ask again in a minute."
)
THINKING = Sentence("Thinking…")
INTERRUPTION_NOTE = Sentence("*(I was interrupted and go on here.)*")
# To the model, after the part of its answer that was shown.
CONTINUE_PROMPT = (
    "Your answer was interrupted here. Go on exactly where it stopped, in the same language and format, and do not "
    "repeat anything of it."
)
# To the model, where a person forwarded a message and wrote nothing beside it.
FORWARDED_WITHOUT_QUESTION = "(I pass this on to you without words of my own.)"
# The same, where a person attached a file.
FILE_WITHOUT_QUESTION = "(I attach this without words of my own.)"
NO_CARD_TEXT = Sentence("I received what you chose in a card, but no text. Please write your question in words.")
NO_EDIT_TEXT = Sentence("Your edited message has no text that I can read. Please write your question in words.")
NO_COPILOT_TEXT = Sentence(
    "I received no text. Copilot passes neither files nor images on to me; please write in words what you need."
)
NO_TEXT = Sentence("I received no text, and no file or image either. Please write your question in words.")
NO_ANSWER = Sentence("The model ended without an answer. Please ask again, perhaps in other words.")
NO_ANSWER_WITHIN_LIMIT = Sentence(
    "The model used up its limit of tokens before it answered. Please ask your administrator to raise "
    "OPENAI_MAX_TOKENS."
)
CALL_FAILED = Sentence("This did not work. Please try again, or ask in words.")
UNEXPECTED = Sentence(
    "Something went wrong on our side. Please try again; if it happens again, give this error id to your administrator."
)

_SENTENCES: tuple[tuple[type[model_errors.ModelError], Sentence], ...] = (
    (
        model_errors.MissingCredentialError,
        Sentence("This agent has no working Databricks credential. Please tell your administrator."),
    ),
    (
        model_errors.SignInError,
        Sentence("Databricks did not accept this agent's sign-in. Please tell your administrator."),
    ),
    (
        model_errors.PermissionDeniedError,
        Sentence(
            "This agent is not allowed to use the model. Please ask your administrator to grant it Can Query on the "
            "serving endpoint."
        ),
    ),
    (
        model_errors.UnknownModelError,
        Sentence(
            "The model this agent is set up to use does not exist in the workspace. Please tell your administrator."
        ),
    ),
    (
        model_errors.ConversationTooLongError,
        Sentence("This is too long for the model. Type /forget to start afresh, or ask with less text."),
    ),
    (model_errors.EndpointUnavailableError, Sentence("The model is waking up. Please ask again in a minute or two.")),
    (
        model_errors.ModelTimeoutError,
        Sentence("The model took too long to answer. Please ask again, or ask for less at once."),
    ),
    (
        model_errors.StreamInterruptedError,
        Sentence(
            "The connection to the model broke, so this answer is incomplete. Please ask again if you need the rest."
        ),
    ),
    (
        model_errors.AddressBlockedError,
        Sentence(
            "The workspace does not let this agent's network address in. Please ask your administrator to add it to "
            "the workspace's IP access list."
        ),
    ),
    (
        model_errors.EndpointUnreachableError,
        Sentence(
            "The Databricks workspace cannot be reached. Please try again; if it happens again, tell your "
            "administrator."
        ),
    ),
    (
        model_errors.UnreadableAnswerError,
        Sentence(
            "The model's endpoint sent something that this agent cannot read. Please ask your administrator to check "
            "DATABRICKS_BASE_URL and DATABRICKS_MODEL_NAME."
        ),
    ),
    (
        model_errors.EndpointFailedError,
        Sentence("The model's endpoint failed. Please try again; if it happens again, tell your administrator."),
    ),
)
# Where an administrator says what the endpoint is sent, for each part of it that an endpoint may refuse.
_SETTINGS = {
    "tools": "DATABRICKS_TOOLS",
    "temperature": "OPENAI_TEMPERATURE",
    "max_tokens": "OPENAI_MAX_TOKENS",
    "max_completion_tokens": "OPENAI_MAX_TOKENS",
    "max_output_tokens": "OPENAI_MAX_TOKENS",
    "messages": "DATABRICKS_API",
    "input": "DATABRICKS_API",
}
_REFUSED = Sentence(
    "The model's endpoint does not accept how this agent asks it; your question is not the reason. Please ask your "
    "administrator to check {settings}."
)
_QUESTION_FILTERED = Sentence(
    "Your question was stopped by the workspace's content filter{why}. Please ask in other words."
)
_ANSWER_FILTERED = Sentence("The answer was stopped by the workspace's content filter{why}. Please ask in other words.")


def sentence_for(failure: model_errors.ModelError, translate: Translator) -> str:
    """What the person is told of `failure`."""
    if isinstance(failure, model_errors.ContentFilteredError):
        sentence = _ANSWER_FILTERED if failure.side == "output" else _QUESTION_FILTERED
        return translate(sentence, why=f" ({', '.join(failure.categories)})" if failure.categories else "")
    if isinstance(failure, model_errors.RateLimitedError):
        return _busy(failure, translate)
    known = next((sentence for kind, sentence in _SENTENCES if isinstance(failure, kind)), None)
    if known is None and isinstance(failure, model_errors.RequestRefusedError):
        setting = next((_SETTINGS[name] for name in failure.parameters if name in _SETTINGS), "")
        return translate(_REFUSED, settings=setting or "DATABRICKS_MODEL_NAME, DATABRICKS_API")
    return translate(known or UNEXPECTED)


def _busy(failure: model_errors.RateLimitedError, translate: Translator) -> str:
    seconds = failure.retry_after_seconds
    if seconds and seconds > 1:
        # More than one, so that every language here needs one plural form only.
        return translate(Sentence("The model is busy. Please ask again in {seconds} seconds."), seconds=ceil(seconds))
    return translate(Sentence("The model is busy. Please ask again in a minute."))
