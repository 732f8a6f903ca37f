"""What a person reads when something went wrong: one sentence they can act on."""

from __future__ import annotations

from app.model import failures

TURN_TIMED_OUT = "The answer took longer than allowed. Please ask again, or ask for less at once."
INTERRUPTED = "The answer was interrupted because this agent is being restarted. Please ask again in a moment."
GIVEN_UP = (
    "The answer was interrupted several times, and I have given up on it. Please ask again; if it happens again, give "
    "this error id to your administrator."
)
NOT_ENTERED = "I cannot remember anything at the moment, so I cannot answer. Please ask again in a minute."
THINKING = "Thinking…"
WAS_INTERRUPTED = "*(I was interrupted and go on here.)*"
# To the model, after the part of its answer that was shown.
GO_ON = (
    "Your answer was interrupted here. Go on exactly where it stopped, in the same language and format, and do not "
    "repeat anything of it."
)
# To the model, in place of a question that somebody passed a message on without.
PASSED_ON = "(I pass this on to you without words of my own.)"
NO_CARD_TEXT = "I received what you chose in a card, but no text. Please write your question in words."
NO_EDIT_TEXT = "Your edited message has no text that I can read. Please write your question in words."
NO_COPILOT_TEXT = (
    "I received no text. Copilot passes neither files nor images on to me; please write in words what you need."
)
NO_TEXT = "I received no text, and no file or image either. Please write your question in words."
NO_ANSWER = "The model ended without an answer. Please ask again, perhaps in other words."
NO_ANSWER_WITHIN_LIMIT = (
    "The model used up its limit of tokens before it answered. Please ask your administrator to raise "
    "OPENAI_MAX_TOKENS."
)
UNEXPECTED = (
    "Something went wrong on our side. Please try again; if it happens again, give this error id to your administrator."
)

_SENTENCES: tuple[tuple[type[failures.ModelFailure], str], ...] = (
    (failures.NoCredential, "This agent has no working Databricks credential. Please tell your administrator."),
    (failures.SignInFailed, "Databricks did not accept this agent's sign-in. Please tell your administrator."),
    (
        failures.NoPermission,
        "This agent is not allowed to use the model. Please ask your administrator to grant it Can Query on the "
        "serving endpoint.",
    ),
    (
        failures.UnknownModel,
        "The model this agent is set up to use does not exist in the workspace. Please tell your administrator.",
    ),
    (
        failures.ConversationTooLong,
        "This is too long for the model. Type /forget to start afresh, or ask with less text.",
    ),
    (failures.WakingUp, "The model is waking up. Please ask again in a minute or two."),
    (failures.ModelTimedOut, "The model took too long to answer. Please ask again, or ask for less at once."),
    (
        failures.StreamCut,
        "The connection to the model broke, so this answer is incomplete. Please ask again if you need the rest.",
    ),
    (
        failures.AddressBlocked,
        "The workspace does not let this agent's network address in. Please ask your administrator to add it to the "
        "workspace's IP access list.",
    ),
    (
        failures.Unreachable,
        "The Databricks workspace cannot be reached. Please try again; if it stays so, tell your administrator.",
    ),
    (
        failures.UnreadableAnswerError,
        "The model's endpoint sent something that this agent cannot read. Please ask your administrator to check "
        "DATABRICKS_BASE_URL and DATABRICKS_MODEL_NAME.",
    ),
    (
        failures.EndpointFailedError,
        "The model's endpoint failed. Please try again; if it happens again, tell your administrator.",
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


def sentence_for(failure: failures.ModelFailure) -> str:
    if isinstance(failure, failures.ContentFiltered):
        return _filtered(failure)
    if isinstance(failure, failures.Busy):
        return _busy(failure)
    known = next((sentence for kind, sentence in _SENTENCES if isinstance(failure, kind)), "")
    if not known and isinstance(failure, failures.RequestRefused):
        return _refused(failure)
    return known or UNEXPECTED


def _refused(failure: failures.RequestRefused) -> str:
    setting = next((_SETTINGS[name] for name in failure.parameters if name in _SETTINGS), "")
    check = setting or "DATABRICKS_MODEL_NAME and DATABRICKS_API"
    return (
        "The model's endpoint does not accept how this agent asks it; your question is not the reason. Please ask your "
        f"administrator to check {check}."
    )


def _filtered(failure: failures.ContentFiltered) -> str:
    what = "The answer" if failure.side == "output" else "Your question"
    why = f" ({', '.join(failure.categories)})" if failure.categories else ""
    return f"{what} was stopped by the workspace's content filter{why}. Please ask in other words."


def _busy(failure: failures.Busy) -> str:
    if failure.retry_after and failure.retry_after > 1:
        return f"The model is busy. Please ask again in {round(failure.retry_after)} seconds."
    return "The model is busy. Please ask again in a minute."
