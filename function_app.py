"""The triggers: each binds one event to one call."""

from __future__ import annotations

import azure.functions as func

from app.services import Services

services = Services.from_environment()
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

# Every method, so that the wrong ones are told what is right; the guard is the Bot Framework's token.
METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@app.route("api/messages", methods=METHODS)
async def messages(req: func.HttpRequest) -> func.HttpResponse:
    answer = await services.bot.messages.receive(req.method, req.headers, req.get_body())
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.content_type
    )


async def close() -> None:
    """For hosts that say when they end."""
    await services.close()
