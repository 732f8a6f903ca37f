"""The settings of function tools: Azure Functions that the agent may ask through a pair of storage queues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from app.common.net import secure_origin
from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting
from app.settings.setting_types import read_json

MAX_FUNCTION_TOOLS = 20
_QueueName = Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
_OTHER_SERVICE = re.compile(r"\.(?:blob|dfs|file|table|web)\.(?:core|storage)\.")
# Beside these the arguments stand in a message.
_RESERVED = frozenset({"correlationid", "function_args", "traceparent"})


class FunctionTool(BaseModel):
    """`parameters` is the JSON schema of the arguments, `endpoint` the address of the queue service. One that
    `reads_only` changes nothing, and is called without an approval. `nests_arguments`: the function reads them from
    `function_args` of its message; else they stand beside `CorrelationId`, as functions of classic agents read them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")
    description: str = Field(min_length=1, max_length=1000)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    endpoint: str
    input_queue: _QueueName
    output_queue: _QueueName
    timeout_seconds: float = Field(60, ge=1, le=600)
    reads_only: bool = False
    nests_arguments: bool = True

    @field_validator("endpoint")
    @classmethod
    def _is_secure(cls, value: str) -> str:
        origin = secure_origin(value.strip())
        if "?" in value or "#" in value:
            raise PydanticCustomError("endpoint", "an endpoint is an address without a signature")
        if _OTHER_SERVICE.search(origin.lower()):
            raise PydanticCustomError("endpoint", "an endpoint is that of the queue service")
        # The host in lower case, so that one queue has one address.
        return f"{origin.lower()}{value.strip()[len(origin) :].rstrip('/')}"

    @field_validator("parameters")
    @classmethod
    def _describes_an_object(cls, value: dict[str, Any]) -> dict[str, Any]:
        properties = value.get("properties", {})
        if value.get("type", "object") != "object" or not isinstance(properties, dict):
            raise PydanticCustomError("parameters", "parameters are the JSON schema of an object")
        if any(name.lower() in _RESERVED for name in properties):
            raise PydanticCustomError(
                "parameters", "no parameter may be called CorrelationId, function_args or traceparent"
            )
        if any(not target.startswith("#") for target in _references(value)):
            raise PydanticCustomError("parameters", "parameters refer to nothing outside of themselves")
        return value


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _distinct(tools: tuple[FunctionTool, ...]) -> tuple[FunctionTool, ...]:
    if len({each.name for each in tools}) < len(tools):
        raise PydanticCustomError("names", "each function needs a name of its own")
    read = {(each.endpoint, each.output_queue) for each in tools}
    if read & {(each.endpoint, each.input_queue) for each in tools}:
        raise PydanticCustomError("queues", "a queue is for questions or for answers")
    return tools


_FunctionTools = Annotated[
    tuple[FunctionTool, ...],
    BeforeValidator(read_json),
    Field(max_length=MAX_FUNCTION_TOOLS),
    AfterValidator(_distinct),
]


class FunctionToolSettings(Section):
    title: ClassVar[str] = "Function tools: Azure Functions that the agent may ask through storage queues"

    tools: _FunctionTools = setting(
        "FUNCTION_TOOLS",
        default=(),
        left_out="no function",
        description='functions as JSON: [{"name": …, "description": …, "parameters": {…}, "endpoint": …, '
        '"input_queue": …, "output_queue": …, "timeout_seconds": 60, "reads_only": false}]; those that do not only '
        "read need an approval",
    )

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        try:
            tools = cls.model_validate(given).tools
        except ValidationError:
            return
        own_queues, own_endpoint = _own_queues(given), _own_endpoint(given)
        for tool in tools:
            if tool.endpoint == own_endpoint and own_queues & {tool.input_queue, tool.output_queue}:
                # The agent would ask itself, or read what others wait for.
                yield f"FUNCTION_TOOLS: {tool.name} uses a queue that this app has for something else; give it its own"


def _own_queues(given: Mapping[str, str]) -> set[str]:
    ask = given.get("FOUNDRY_TOOL_NAME", "ask")
    tools = {
        f"azure-function-{name}-{end}" for name in (ask, "ask-data", "diagnose-job") for end in ("input", "output")
    }
    queues = {"turns", "foundry-requests", *tools}
    return queues | {f"{name}-poison" for name in queues}


def _own_endpoint(given: Mapping[str, str]) -> str:
    """The address of the queue service of the app's own storage account; empty where there is none."""
    text = given.get("AzureWebJobsStorage", "")
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        return "http://127.0.0.1:10001/devstoreaccount1"
    if account := parts.get("AccountName"):
        default = f"https://{account}.queue.{parts.get('EndpointSuffix', 'core.windows.net')}"
        return parts.get("QueueEndpoint", default).rstrip("/")
    return given.get("AzureWebJobsStorage__queueServiceUri", "").rstrip("/")
