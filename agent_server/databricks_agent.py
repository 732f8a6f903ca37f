"""The agent of `app/agent` as a handler: serving endpoints, Genie, SQL, MCP and all that the settings give it."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from agent_server.handlers.handler import JsonObject
from agent_server.handlers.input_text import file_ids_of, text_of
from agent_server.handlers.request_context import RequestContext, current_request
from agent_server.protocol.agent_event_items import AgentEventItems
from agent_server.protocol.api_error import ApiError, not_found
from agent_server.responses.turn_call import TurnCall, current_turn_call
from app.agent.agent import Agent
from app.agent.events import Answer, End, Failure, TextAdded
from app.agent.turn import Turn
from app.common.caller import Caller
from app.common.identity import RequestIdentity, UserIdentity
from app.files.uploads import Uploads
from app.messaging.actions import CALL_VERB, CALLED_TOOL
from app.models.model import ToolCall
from app.models.model_errors import ConversationTooLongError, PermissionDeniedError, SignInError
from app.storage.conversations import ConversationKey, StoredMessage
from app.tools.attached_files import AttachedFile

# By the type of the error, where they differ from those of a chat in Teams.
_SENTENCES = {
    ConversationTooLongError.__name__: (
        "This is too long for the model. Begin a new conversation, or ask with less text."
    )
}
_SENTENCES_OF_PERSON = {
    SignInError.__name__: "Databricks did not accept your sign-in. Please load the page again, or send a new token.",
    PermissionDeniedError.__name__: (
        "You are not allowed to use the model. Please ask your administrator for Can Query on the serving endpoint, "
        "and for the scope model-serving in the app's user_api_scopes."
    ),
}


def ask_agent(request: JsonObject) -> AsyncGenerator[JsonObject, None]:
    """The events of the agent's answer to a Responses request. For servers made with
    `create_server(..., databricks_agent=True)`; raises `LookupError` elsewhere.
    """
    agent = current_request().agent
    if agent is None:
        raise LookupError("this server has no Databricks agent: create_server(..., databricks_agent=True) makes it")
    return agent.stream(request)


class DatabricksAgent:
    """Implements `agent_server.handlers.handler.Handler`."""

    def __init__(self, agent: Agent, uploads: Uploads) -> None:
        self._agent = agent
        self._uploads = uploads

    async def invoke(self, request: JsonObject) -> JsonObject:
        raise NotImplementedError("the agent is asked with stream")

    async def stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        context = current_request()
        call = current_turn_call()
        prior = call.prior_ids if call else frozenset()
        items = [item for item in request.get("input") or [] if item.get("id") not in prior]
        button = _call_of_button(request)
        turn, history = await self._turn(items, context, call, button)
        loose = AgentEventItems()
        answer = self._agent.answer(
            turn,
            [*(call.history if call else ()), *history],
            said=call.said if call else None,
            journal=call.journal if call else None,
            approvals=call.approvals if call else None,
            cancellation=call.cancellation if call else None,
            deadline=call.deadline if call else math.inf,
            identity=context.caller.identity,
            instructions=_instructions(request, items),
        )
        async with aclosing(answer) as events:
            async for event in events:
                if isinstance(event, Failure):
                    event = _said_here(event, context.caller.identity)
                if button is not None and isinstance(event, Answer):
                    # No event before it has its sentence.
                    for each in loose.add(TextAdded(event.text, by_model=False)):
                        yield each
                if call is not None and isinstance(event, End):
                    call.end = event
                for each in loose.add(event):
                    yield each

    async def _turn(
        self,
        items: Sequence[Mapping[str, Any]],
        context: RequestContext,
        call: TurnCall | None,
        button: ToolCall | None,
    ) -> tuple[Turn, list[StoredMessage]]:
        """The last user message is the question, or the title of a `button`; what stands before it was said before."""
        last = max((index for index, item in enumerate(items) if item.get("role") == "user"), default=-1)
        question = items[last] if last >= 0 else {}
        id = call.turn.id if call else context.request_id
        conversation = call.turn.conversation if call else ConversationKey(context.caller.tenant, id)
        caller = Caller(user_id=context.caller.owner, name=context.caller.name)
        files = await self._files(question, context)
        text = "" if button else text_of(question)
        turn = Turn(id, conversation, text, caller=caller, files=files, call=button)
        return turn, _said_before(items[: max(last, 0)])

    async def _files(self, question: Mapping[str, Any], context: RequestContext) -> tuple[AttachedFile, ...]:
        """Those that were uploaded before. Raises `ApiError` for an unknown one."""
        files = []
        for id in file_ids_of(question):
            found = await self._uploads.find(context.caller.tenant, id)
            if found is None:
                raise not_found("file", id)
            files.append(found.attached)
        return tuple(files)


def _call_of_button(request: Mapping[str, Any]) -> ToolCall | None:
    """The data of a button `call_tool` in a block comes back as `custom_inputs.call_tool`. Whoever sends it can have
    changed it: only tools for buttons are called, they check their arguments, and one that changes something asks for
    approval. Raises `ApiError`.
    """
    data = (request.get("custom_inputs") or {}).get(CALL_VERB)
    if data is None:
        return None
    if (
        not isinstance(data, dict)
        or not data.get(CALLED_TOOL)
        or not all(isinstance(each, str) for each in data.values())
    ):
        raise ApiError(400, f"custom_inputs.{CALL_VERB} must be the data of a button.", param="custom_inputs")
    arguments = {name: value for name, value in data.items() if name != CALLED_TOOL}
    return ToolCall("button", data[CALLED_TOOL], json.dumps(arguments))


def _said_before(items: Sequence[Mapping[str, Any]]) -> list[StoredMessage]:
    return [
        StoredMessage("assistant" if item["role"] == "assistant" else "user", text)
        for item in items
        if item.get("role") in ("user", "assistant") and (text := text_of(item)).strip()
    ]


def _instructions(request: JsonObject, items: Sequence[Mapping[str, Any]]) -> str:
    """Those of the request, and of messages of a system or a developer."""
    texts = [str(request.get("instructions") or "")]
    texts += [text_of(item) for item in items if item.get("role") in ("system", "developer")]
    return "\n\n".join(text for text in texts if text.strip())


def _said_here(failure: Failure, identity: RequestIdentity) -> Failure:
    """There is no /forget here, and a person who is asked for with their own token can do what an app cannot."""
    sentences = _SENTENCES | (_SENTENCES_OF_PERSON if isinstance(identity, UserIdentity) else {})
    return replace(failure, sentence=sentences.get(failure.error_type, failure.sentence))
