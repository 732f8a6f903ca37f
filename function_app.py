"""The triggers: each binds one event to one call."""

from __future__ import annotations

import azure.functions as func

from app.composition.functions_host import Services, start
from app.http import HttpAnswer

services = start()
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

# Every method, so that the wrong ones are told what is right; the guard is the Bot Framework's token.
METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@app.route("api/messages", methods=METHODS)
async def messages(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    trace = context.trace_context.trace_parent
    return _response(await services.messages.receive(req.method, req.headers, req.get_body(), traceparent=trace))


@app.route("api/health", methods=METHODS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    return _response(services.health.answer(req.method))


@app.route("api/health/dependencies", methods=METHODS, auth_level=func.AuthLevel.FUNCTION)
async def health_dependencies(req: func.HttpRequest) -> func.HttpResponse:
    return _response(await services.health.answer_with_dependencies(req.method))


def _bind_what_nobody_calls(services: Services) -> None:
    @app.queue_trigger("msg", "turns", "AzureWebJobsStorage")
    async def resume_turn(msg: func.QueueMessage, context: func.Context) -> None:
        await services.unfinished.resume(msg.get_body(), context.trace_context.trace_parent)

    @app.timer_trigger("timer", "0 17 3 * * *")
    async def delete_old_conversations(timer: func.TimerRequest) -> None:
        await services.delete_old()


# Else turns wait on their queue for settings that are valid: a message that the host has taken would soon be poison.
if isinstance(services, Services):
    _bind_what_nobody_calls(services)


async def close() -> None:
    """For hosts that say when they end."""
    await services.close()


def _response(answer: HttpAnswer) -> func.HttpResponse:
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.content_type
    )
