"""Answering what a run asks of the world outside, or withdrawing it."""

from __future__ import annotations

from perdure import errors
from perdure.routes import messages, parameters, problems, runs, workflows
from perdure.routes import site as sites


async def respond(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST workflow/{name}/respond/{id}/{request}``: answer an open request."""
    run = await workflows.run_of(site, request)
    request_id = request.params["request"]
    body = parameters.body(request)
    try:
        became = await site.runs.answer(run.id, request_id, body, request.headers.get("content-type", ""))
    except errors.EmptyInput as error:
        raise problems.Problem(400, str(error), kind="empty-input") from error
    except errors.MalformedInput as error:
        raise problems.Problem(400, str(error), kind="invalid-input", pointers=error.errors) from error
    except errors.InvalidInput as error:
        raise problems.Problem(422, str(error), kind="invalid-answer", pointers=error.errors) from error
    _check(became, run.id, request_id)
    delivered = {"message": "Response delivered successfully", "instanceId": run.id, "requestId": request_id}
    return messages.json(delivered)


async def withdraw(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``DELETE workflow/{name}/respond/{id}/{request}``: withdraw an open request."""
    run = await workflows.run_of(site, request)
    request_id = request.params["request"]
    _check(await site.runs.withdraw(run.id, request_id), run.id, request_id)
    return messages.json({"message": "Request withdrawn", "instanceId": run.id, "requestId": request_id})


def _check(became: runs.Accepted, run_id: str, request_id: str) -> None:
    if became == "answered":
        raise problems.Problem(
            409, f"The request {problems.clipped(request_id)} is not open any more.", kind="already-answered"
        )
    if became == "unknown":
        raise problems.Problem(
            404, f"The run {problems.clipped(run_id)} has no request {problems.clipped(request_id)}.", kind="no-request"
        )
