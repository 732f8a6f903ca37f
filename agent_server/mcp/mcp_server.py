"""What is listed and called over MCP. Imported with the first request to `/mcp`."""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from starlette.requests import Request

from agent_server.mcp.mcp_services import AskAnswer, McpServices, failed_answer
from agent_server.protocol.api_error import ApiError
from app.mcp_server.call_progress import CallProgress, with_progress
from app.mcp_server.tools import listed_tool, object_schema, text_result
from app.mcp_server.tools_only_server import tools_only_server

_Context = ServerRequestContext[Any, Any]
_MAX_QUESTION_CHARACTERS = 100_000

_QUESTION = {"type": "string", "minLength": 1, "description": "What to ask, in plain words, with all that is needed."}
_PREVIOUS = {
    "type": "string",
    "description": "The response_id of an earlier answer, to go on with that conversation. Leave it out for a new one.",
}
_RESPONSE_ID = {"type": "string", "minLength": 1, "description": "The response_id that ask has returned."}


def mcp_server(services: McpServices) -> Server[Any]:
    calls = _Calls(services)
    return tools_only_server(
        services.name,
        services.version,
        calls.list_tools,
        calls.call_tool,
        instructions=services.description or None,
    )


class _Calls:
    def __init__(self, services: McpServices) -> None:
        self._services = services

    async def list_tools(self, context: _Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        agent = self._services.agent
        properties = {"question": _QUESTION, **({"previous_response_id": _PREVIOUS} if agent.keeps_answers else {})}
        about = self._services.description or "Answers questions about data in Databricks."
        schema = object_schema(properties, ["question"])
        tools = [listed_tool("ask", "Ask the agent", about, schema, reads_only=False, open_world=False)]
        if agent.keeps_answers:
            about = "Returns an answer of ask that was not complete yet; waits for it for a while."
            schema = object_schema({"response_id": _RESPONSE_ID}, ["response_id"])
            tools.append(listed_tool("get_answer", "Get an answer", about, schema, open_world=False))
        own = {tool.name for tool in tools}
        served = self._services.tools
        if served is not None:
            for tool in await served.tools(self._services.caller_of(_request(context))):
                if tool.name not in own:
                    tools.append(listed_tool(tool.name, tool.title, tool.description, tool.schema))
        return ListToolsResult(tools=tools)

    async def call_tool(self, context: _Context, params: CallToolRequestParams) -> CallToolResult:
        arguments = params.arguments or {}
        try:
            if params.name == "ask":
                return _result(await self._ask(context, arguments))
            if params.name == "get_answer" and self._services.agent.keeps_answers:
                response_id = _text(arguments, "response_id")
                return _result(await with_progress(context, self._services.agent.get(_request(context), response_id)))
            return await self._call_served(context, params.name, arguments)
        except ApiError as error:
            return _result(failed_answer(error))

    async def _ask(self, context: _Context, arguments: dict[str, Any]) -> AskAnswer:
        question = _text(arguments, "question")
        if len(question) > _MAX_QUESTION_CHARACTERS:
            raise ApiError(400, f"A question has {_MAX_QUESTION_CHARACTERS} characters at most.", param="question")
        previous = arguments.get("previous_response_id") or ""
        if not isinstance(previous, str):
            raise ApiError(400, "previous_response_id must be a text.", param="previous_response_id")
        return await with_progress(context, self._services.agent.ask(_request(context), question, previous))

    async def _call_served(self, context: _Context, name: str, arguments: dict[str, Any]) -> CallToolResult:
        served = self._services.tools
        said = CallProgress(context)
        if served is not None:
            caller = self._services.caller_of(_request(context))
            call = served.call(name, arguments, caller, said.say)
            result = await with_progress(context, call, said)
            if result is not None:
                return text_result(result.text, failed=not result.succeeded)
        return text_result(f"There is no tool of the name {name[:80]!r}.", failed=True)


def _request(context: _Context) -> Request:
    assert isinstance(context.request, Request)
    return context.request


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ApiError(400, f"{name} is missing.", param=name)
    return value


def _result(answer: AskAnswer) -> CallToolResult:
    texts = [answer.text]
    if answer.response_id:
        use = "call get_answer with it" if answer.is_running else "pass it as previous_response_id to go on"
        texts.append(f"response_id: {answer.response_id} ({use})")
    structured = {
        "text": answer.text,
        "response_id": answer.response_id or None,
        "status": "in_progress" if answer.is_running else "failed" if answer.failed else "completed",
    }
    return CallToolResult(
        content=[TextContent(text=text) for text in texts], structured_content=structured, is_error=answer.failed
    )
