"""Starting a workflow, asking after a run, and what is hosted."""

from __future__ import annotations

import asyncio
import uuid

from perdure import errors
from perdure.payloads import refs
from perdure.routes import hosted, messages, parameters, problems, runs, views
from perdure.routes import site as sites
from perdure.workflow import options

ACCEPT_IN_THREAD_BYTES = 256 * 1024
"""A body from this size on is decoded in a thread, so that it holds up nobody else's request."""


async def start(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST workflow/{name}/run``: start a run, or find the one with this id and input."""
    workflow = site.find(request.params["name"])
    chosen = parameters.run_id(request)
    waiting = parameters.waiting(request)
    value, given, blobs = await _accept(workflow, request)
    run, new = await site.runs.start(
        workflow.name,
        chosen or uuid.uuid4().hex,
        value,
        blobs,
        given=given,
        fresh=chosen is None,
        wait=waiting.seconds,
    )
    if not new and (run.workflow != workflow.name or run.input_digest != options.digest(value, given)):
        raise problems.Problem(
            409,
            f"The run {problems.clipped(run.id)} exists with another input or other options; choose another runId.",
            kind="run-exists",
        )
    headers = {"preference-applied": waiting.applied} if waiting.applied else {}
    if waiting.seconds > 0 and run.status in runs.ENDED:
        return messages.json(views.ended(run), 200, headers)
    return _started(site, request, workflow.name, run.id, headers)


async def _accept(
    workflow: hosted.Hosted, request: messages.Request
) -> tuple[refs.Ref, options.RunOptions, list[refs.Blob]]:
    def accept() -> tuple[refs.Ref, options.RunOptions, list[refs.Blob]]:
        if content_type.partition(";")[0].strip().lower() == options.MEDIA_TYPE:
            return workflow.accept_run(body)
        value, blobs = workflow.accept(body, content_type)
        return value, options.NONE, blobs

    content_type = request.headers.get("content-type", "")
    try:
        body = parameters.body(request)
        if not body:
            raise errors.EmptyInput("The body is empty.", "Send the workflow's input as JSON or as text.")
        if len(body) < ACCEPT_IN_THREAD_BYTES:
            return accept()
        return await asyncio.to_thread(accept)
    except errors.EmptyInput as error:
        raise problems.Problem(400, str(error), kind="empty-input") from error
    except errors.InvalidInput as error:
        raise problems.Problem(400, str(error), kind="invalid-input", pointers=error.errors) from error


def _started(
    site: sites.Site, request: messages.Request, name: str, run_id: str, headers: dict[str, str]
) -> messages.Reply:
    status = site.link(request, "workflow", name, "status", run_id)
    body = {
        "instanceId": run_id,
        "statusQueryGetUri": status,
        "respondUri": site.link(request, "workflow", name, "respond", run_id) + "/{requestId}",
        "message": "Workflow started",
    }
    return messages.json(body, 202, {"location": status, **headers})


async def run_of(site: sites.Site, request: messages.Request) -> runs.Run:
    """Give the run that the path names.

    Raises:
        Problem: 404 if the workflow is unknown, or has no such run.
    """
    workflow = site.find(request.params["name"])
    run = await site.runs.get(request.params["id"])
    if run is None or run.workflow != workflow.name:
        raise problems.unknown_run(request.params["id"])
    return run


async def status(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET workflow/{name}/status/{id}``: a run as it stands."""
    run = await run_of(site, request)
    return messages.json(views.status(run, site.link(request, "workflow", run.workflow, "respond", run.id)))


async def describe(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET workflow/{name}``: the graph, its input schema and a Mermaid drawing."""
    return messages.json(site.find(request.params["name"]).describe())


async def listing(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET workflows``: what is hosted, and where."""
    shown = []
    for workflow in site.workflows.values():
        graph = workflow.describe()
        shown.append(
            {
                "name": workflow.name,
                "description": graph.get("description"),
                "graphUri": site.link(request, "workflow", workflow.name),
                "runUri": site.link(request, "workflow", workflow.name, "run"),
            }
        )
    return messages.json({"workflows": shown})
