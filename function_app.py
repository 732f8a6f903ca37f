"""The triggers: each binds one event to one call."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

# What is imported stays: to look for garbage among it takes a tenth of the start.
gc.disable()

import azure.functions as func

from app.composition.functions_host import FunctionsHost, start
from app.http import HttpAnswer

if TYPE_CHECKING:
    from app.composition.job_triggers import JobTriggers

try:
    host = start()
finally:
    gc.freeze()
    gc.enable()
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

# Other methods than POST are answered with the right one; access is guarded by the Bot Framework's token.
METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@app.route("api/messages", methods=METHODS)
async def messages(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    trace = context.trace_context.trace_parent
    return _response(await host.receive_activity(req.method, req.headers, req.get_body(), traceparent=trace))


@app.route("api/health", methods=METHODS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    return _response(host.health.answer(req.method))


@app.route("api/health/dependencies", methods=METHODS, auth_level=func.AuthLevel.FUNCTION)
async def health_dependencies(req: func.HttpRequest) -> func.HttpResponse:
    return _response(await host.health.answer_with_dependencies(req.method))


def _bind_queue_and_timers(host: FunctionsHost) -> None:
    @app.queue_trigger("msg", "turns", "AzureWebJobsStorage")
    async def process_queue_message(msg: func.QueueMessage, context: func.Context) -> None:
        await host.process_queue_message(msg.get_body(), context.trace_context.trace_parent)

    @app.timer_trigger("timer", "0 17 3 * * *")
    async def delete_expired(timer: func.TimerRequest) -> None:
        await host.delete_expired()

    @app.timer_trigger("timer", "0 */5 * * * *")
    async def ask_scheduled_questions(timer: func.TimerRequest) -> None:
        await host.ask_scheduled_questions()


def _bind_foundry_tool(host: FunctionsHost, tool: str, name: str) -> None:
    queue, connection, binary = f"azure-function-{name}-input", "AzureWebJobsStorage", func.DataType.BINARY

    # Bytes: members of a JSON text would be taken for properties of the message.
    @app.function_name(f"foundry_{tool}")
    @app.queue_trigger("msg", queue, connection, data_type=binary)
    async def receive_request(msg: func.QueueMessage, context: func.Context) -> None:
        await host.receive_foundry_request(tool, *_content(msg), context.trace_context.trace_parent)

    @app.function_name(f"foundry_{tool}_poison")
    @app.queue_trigger("msg", f"{queue}-poison", connection, data_type=binary)
    async def receive_poison(msg: func.QueueMessage, context: func.Context) -> None:
        await host.receive_poisoned_foundry_request(tool, *_content(msg), context.trace_context.trace_parent)


def _bind_foundry_requests(host: FunctionsHost) -> None:
    @app.queue_trigger("msg", "foundry-requests", "AzureWebJobsStorage")
    async def process_foundry_request(msg: func.QueueMessage, context: func.Context) -> None:
        await host.process_foundry_message(msg.get_body(), context.trace_context.trace_parent)

    @app.queue_trigger("msg", "foundry-requests-poison", "AzureWebJobsStorage", data_type=func.DataType.BINARY)
    async def process_foundry_request_poison(msg: func.QueueMessage, context: func.Context) -> None:
        await host.process_poisoned_foundry_message(msg.get_body(), msg.id or "", context.trace_context.trace_parent)


def _bind_foundry_mcp(host: FunctionsHost) -> None:
    @app.route("api/mcp", methods=METHODS, auth_level=func.AuthLevel.FUNCTION)
    async def mcp(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        trace = context.trace_context.trace_parent
        return _response(await host.receive_mcp(req.method, req.headers, req.get_body(), trace))

    if host.takes_mcp_tokens:

        @app.route("api/mcp/entra", methods=METHODS)
        async def mcp_entra(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
            trace = context.trace_context.trace_parent
            return _response(await host.receive_mcp(req.method, req.headers, req.get_body(), trace, by_token=True))


def _bind_job_watch(triggers: JobTriggers) -> None:
    @app.route("api/job-notifications", methods=METHODS)
    async def job_notifications(req: func.HttpRequest) -> func.HttpResponse:
        return _response(await triggers.receive_notification(req.method, req.headers, req.get_body()))

    if triggers.schedule is not None:

        @app.timer_trigger("timer", triggers.schedule)
        async def watch_jobs(timer: func.TimerRequest) -> None:
            await triggers.run_pass()


# With invalid settings messages stay on their queue: a function that fails would soon move them to the poison queue.
if isinstance(host, FunctionsHost):
    _bind_queue_and_timers(host)
    if host.foundry_queues:
        _bind_foundry_requests(host)
        _bind_foundry_mcp(host)
    for tool, name in host.foundry_queues.items():
        _bind_foundry_tool(host, tool, name)
    if host.job_triggers is not None:
        _bind_job_watch(host.job_triggers)


async def close() -> None:
    """Called by hosts on a developer's machine before they end."""
    await host.close()


def _content(message: func.QueueMessage) -> tuple[bytes, str, float]:
    """What is stored, the message's id, and when storage took it, in seconds since 1970."""
    inserted = message.insertion_time
    return message.get_body(), message.id or "", inserted.timestamp() if inserted else time.time()


def _response(answer: HttpAnswer) -> func.HttpResponse:
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.content_type
    )
