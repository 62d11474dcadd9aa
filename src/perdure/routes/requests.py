"""Answering what a run asks of the world outside."""

from __future__ import annotations

from perdure import errors
from perdure.routes import messages, problems, workflows
from perdure.routes import site as sites


async def respond(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST workflow/{name}/respond/{id}/{request}``: answer an open request."""
    run = await workflows.run_of(site, request)
    request_id = request.params["request"]
    try:
        became = await site.runs.answer(run.id, request_id, request.body, request.headers.get("content-type", ""))
    except errors.EmptyInput as error:
        raise problems.Problem(400, str(error), kind="empty-input") from error
    except errors.MalformedInput as error:
        raise problems.Problem(400, str(error), kind="invalid-input", pointers=error.errors) from error
    except errors.InvalidInput as error:
        raise problems.Problem(422, str(error), kind="invalid-answer", pointers=error.errors) from error
    if became == "answered":
        raise problems.Problem(
            409, f"The request {problems.clipped(request_id)} is not open any more.", kind="already-answered"
        )
    if became == "unknown":
        raise problems.Problem(
            404, f"The run {problems.clipped(run.id)} has no request {problems.clipped(request_id)}.", kind="no-request"
        )
    body = {"message": "Response delivered successfully", "instanceId": run.id, "requestId": request_id}
    return messages.json(body)
