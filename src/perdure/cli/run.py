"""``perdure run``: one run of a workflow, by the host that has the hub or in this process."""

from __future__ import annotations

import asyncio
import datetime
import os
import sys
import urllib.parse
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from perdure import app as apps
from perdure import cli, errors
from perdure.cli import remote, start
from perdure.hosts.local import loading, logs, owner, settings
from perdure.routes import hosted, parameters, problems, runs, views
from perdure.routes import site as sites
from perdure.workflow import options

CODES: Mapping[str, int] = {"Completed": 0, "Failed": cli.FAILURE, "Terminated": cli.FAILURE}
PARKED_EVENTS = frozenset({"parked", "suspended"})


def run(workflow: str, value: str, *, place: str, hub: str | None, run_id: str | None) -> int:
    """Run a workflow with an input; gives the exit code.

    Raises:
        UsageError: If the app, the workflow, the input or the id is not acceptable.
    """
    file = loading.locate(place)
    told = settings.load(file.parent, os.environ, hub=start.absolute(hub))
    body = read(value)
    chosen = _checked(run_id)
    log = logs.RunLog(sys.stderr)
    held = owner.find(told.hub)
    if held is not None:
        return _by_http(held, told.hub, workflow, body, chosen, log)
    told.apply(os.environ)
    logs.pass_through()
    app = loading.load(file)
    return asyncio.run(_here(app, told, workflow, body, chosen, log))


def read(value: str) -> bytes:
    """Give the input that an argument names: itself, standard input, or a file.

    Raises:
        UsageError: If the file cannot be read.
    """
    if value == "-":
        return sys.stdin.buffer.read()
    if value.startswith("@"):
        try:
            return Path(value[1:]).read_bytes()
        except OSError as error:
            raise errors.UsageError(f"{value[1:]} cannot be read: {error.strerror}.") from error
    return value.encode()


def content_type(body: bytes) -> str:
    """Say whether an input is JSON or text."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "text/plain"
    return "application/json"


def _checked(run_id: str | None) -> str:
    if run_id is None:
        return uuid.uuid4().hex
    try:
        return parameters.legal_run_id("--run-id", run_id)
    except problems.Problem as problem:
        raise errors.UsageError(problem.detail) from None


def _by_http(held: owner.Owner, hub: Path, workflow: str, body: bytes, run_id: str, log: logs.RunLog) -> int:
    if not held.url:
        raise errors.HubError(
            f"The hub {hub} is in use by process {held.pid}, which serves no HTTP (yet).",
            "Try again when it is up or done, or choose another hub with --hub.",
        )
    api = remote.Api(held.url)
    headers = {"Content-Type": content_type(body)}
    query = urllib.parse.urlencode({"runId": run_id})
    try:
        api.call("POST", "workflow", workflow, "run", body=body, headers=headers, query=query)
    except remote.Refused as error:
        raise errors.UsageError(error.message) from error
    for event in api.events(workflow, run_id):
        log.event(run_id, workflow, _event(event))
        if event["type"] in PARKED_EVENTS:
            break
    status = api.call("GET", "workflow", workflow, "status", run_id)
    return _tell(status["runtimeStatus"], status["output"], status["error"], run_id)


def _event(shown: Mapping[str, Any]) -> runs.Event:
    time = datetime.datetime.fromisoformat(shown["time"]).timestamp()
    return runs.Event(shown["id"], shown["type"], time, shown["data"])


async def _here(
    app: apps.AgentFunctionApp, told: settings.Settings, workflow: str, body: bytes, run_id: str, log: logs.RunLog
) -> int:
    from perdure.hosts.local import host as local

    stop = start.Stop()
    async with local.LocalHost(app, hub=told.hub, settings=told, port=None) as host:
        site = sites.Site(app.hosted_workflows, host.runs)
        found = _find(site, workflow)
        try:
            ref, blobs = found.accept(body, content_type(body))
        except (errors.EmptyInput, errors.InvalidInput) as error:
            raise errors.UsageError(error.message, error.remedy) from error
        begun, new = await host.runs.start(found.name, run_id, ref, blobs)
        if not new and (begun.workflow != found.name or begun.input_digest != options.digest(ref)):
            raise errors.UsageError(f"The run {run_id!r} exists with another input.", "Choose another --run-id.")
        following = asyncio.create_task(_follow(host.runs, begun, log))
        stopping = asyncio.create_task(stop.asked())
        await asyncio.wait((following, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not following.done():
            following.cancel()
            await host.drain(start.DRAIN_SECONDS)
        elif following.exception() is not None:
            following.result()
        run = await host.runs.get(run_id) or begun
    return _tell(run.status, run.output, views.error(run.failure), run_id)


def _find(site: sites.Site, workflow: str) -> hosted.Hosted:
    try:
        return site.find(workflow)
    except problems.Problem as problem:
        raise errors.UsageError(problem.detail) from None


async def _follow(store: runs.Runs, run: runs.Run, log: logs.RunLog) -> None:
    async for event in store.follow(run.id):
        log.event(run.id, run.workflow, event)
        if event.type in PARKED_EVENTS:
            return


def _tell(status: str, output: Any, error: str | None, run_id: str) -> int:
    if status == "Completed":
        click.echo(msgspec.json.format(msgspec.json.encode(output), indent=2).decode())
    elif status in runs.ENDED:
        click.echo(f"{status}: {error or 'no reason given'}", err=True)
    else:
        click.echo(f"The run {run_id} is {status}; it goes on when a host has the hub again.", err=True)
    return CODES.get(status, cli.PARKED)
