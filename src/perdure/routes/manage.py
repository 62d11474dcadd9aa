"""Runs of any workflow: list, cancel, delete."""

from __future__ import annotations

import typing

import msgspec

from perdure import errors
from perdure.agents import naming
from perdure.routes import messages, parameters, problems, runs, views
from perdure.routes import site as sites

DEFAULT_PAGE = 100
MAX_PAGE = 1000
STATUSES: tuple[runs.Status, ...] = typing.get_args(runs.Status)

_BY_FOLDED: dict[str, runs.Status] = {status.casefold(): status for status in STATUSES}


class CancelBody(msgspec.Struct, frozen=True):
    """What a cancellation may say."""

    reason: str = ""


async def listing(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET runs``: newest first, by status, workflow, time of creation and prefix of the id, in pages."""
    query = runs.Query(
        workflow=_workflow(site, request.query.get("workflow")),
        statuses=_statuses(request.query.get("status")),
        created_from=parameters.moment(request, "createdFrom"),
        created_to=parameters.moment(request, "createdTo"),
        prefix=request.query.get("prefix", ""),
        cursor=request.query.get("cursor"),
        limit=parameters.whole(request, "limit", DEFAULT_PAGE, 1, MAX_PAGE),
    )
    try:
        page = await site.runs.query(query)
    except errors.UsageError:
        raise problems.bad_value("cursor", query.cursor or "", "the cursor of the page before, unchanged") from None
    shown = [views.summary(run, site.link(request, "workflow", run.workflow, "status", run.id)) for run in page.runs]
    return messages.json({"runs": shown, "cursor": page.cursor})


def _workflow(site: sites.Site, name: str | None) -> str | None:
    # A hub also has runs of workflows that are hosted no more: those are found under the name they had.
    if name is None:
        return None
    folded = name.casefold()
    return next((known for known in site.workflows if known.casefold() == folded), name)


def _statuses(value: str | None) -> tuple[runs.Status, ...]:
    if value is None:
        return ()
    chosen = []
    for part in value.split(","):
        status = _BY_FOLDED.get(part.strip().casefold())
        if status is None:
            raise problems.bad_value("status", part.strip(), f"{', '.join(STATUSES)}, several separated by commas")
        chosen.append(status)
    return tuple(dict.fromkeys(chosen))


async def cancel(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST runs/{id}/cancel``: end a run as Terminated; once it is, asking again changes nothing."""
    run_id = _run_id(request)
    done = await site.runs.terminate(run_id, _reason(request))
    run = await site.runs.get(run_id)
    if run is None:
        raise problems.unknown_run(run_id)
    if not done and run.status != "Terminated":
        raise problems.Problem(
            409, f"The run {problems.clipped(run_id)} has ended already: {run.status}.", kind="run-ended"
        )
    return messages.json(views.status(run))


def _run_id(request: messages.Request) -> str:
    run_id = request.params["id"]
    if naming.is_session(run_id):
        # Sessions of agents have routes of their own, which know what else a session has.
        raise problems.unknown_run(run_id)
    return run_id


def _reason(request: messages.Request) -> str:
    body = CancelBody()
    if request.body.strip():
        try:
            body = messages.decode(request.body, CancelBody)
        except msgspec.DecodeError as error:
            raise problems.Problem(
                400, f'The body may be empty or {{"reason": "..."}}; {error}.', kind="invalid-input"
            ) from error
    return body.reason or request.query.get("reason", "") or "Cancelled by a client."


async def rewind(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST runs/{id}/rewind``: let a failed run go on from the step that failed."""
    run_id = request.params["id"]
    done = await site.runs.rewind(run_id)
    run = await site.runs.get(run_id)
    if run is None:
        raise problems.unknown_run(run_id)
    if not done:
        raise problems.Problem(
            409,
            f"The run {problems.clipped(run_id)} is {run.status}; only a failed run that left a step to go on from "
            "can be rewound.",
            kind="not-rewindable",
        )
    return messages.json(views.status(run), 202)


async def purge(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``DELETE runs/{id}``: delete an ended run with all that it kept."""
    run_id = _run_id(request)
    if await site.runs.purge(run_id):
        return messages.Reply(204, {})
    run = await site.runs.get(run_id)
    if run is None:
        raise problems.unknown_run(run_id)
    raise problems.Problem(
        409,
        f"The run {problems.clipped(run_id)} is {run.status}; only an ended run can be deleted. Cancel it first.",
        kind="run-active",
    )
