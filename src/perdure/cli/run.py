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
from perdure.payloads import refs
from perdure.routes import hosted, messages, parameters, problems, runs, views
from perdure.routes import site as sites
from perdure.workflow import options, start_input

CODES: Mapping[str, int] = {"Completed": 0, "Failed": cli.FAILURE, "Terminated": cli.FAILURE}
PARKED_EVENTS = frozenset({"parked", "suspended"})


class Given(msgspec.Struct, frozen=True):
    """What a run is given beside its input, as the command line says it.

    Attributes:
        tools: Names of the app's runtime tools.
        function_invocation_kwargs: What tools are given, as JSON, or the file that has it after an ``@``.
        client_kwargs: What chat clients are given, likewise.
        stream: Whether agents run in streaming mode.
    """

    tools: tuple[str, ...] = ()
    function_invocation_kwargs: str | None = None
    client_kwargs: str | None = None
    stream: bool = False


class _Request(msgspec.Struct, frozen=True):
    """What a run is started with: a body of the run route, and its type."""

    body: bytes
    content_type: str
    stream: bool


def run(workflow: str, value: str, given: Given, *, place: str, hub: str | None, run_id: str | None) -> int:
    """Run a workflow with an input; gives the exit code.

    Raises:
        UsageError: If the app, the workflow, the input or the id is not acceptable.
    """
    file = loading.locate(place)
    told = settings.load(file.parent, os.environ, hub=start.absolute(hub))
    request = _request(read(value), given)
    chosen = _checked(run_id)
    log = logs.RunLog(sys.stderr)
    held = owner.find(told.hub)
    if held is not None:
        return _by_http(held, told.hub, workflow, request, chosen, log)
    told.apply(os.environ)
    logs.pass_through()
    app = loading.load(file)
    return asyncio.run(_here(app, told, workflow, request, chosen, log))


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
    return messages.JSON


def _request(body: bytes, given: Given) -> _Request:
    kind = content_type(body)
    # An empty input is refused as one, whatever comes with it.
    if given == Given() or not body:
        return _Request(body, kind, given.stream)
    if kind != messages.JSON:
        try:
            body = msgspec.json.encode(start_input.text(body, kind))
        except errors.InvalidInput as error:
            raise errors.UsageError(error.message, error.remedy) from error
    envelope = options.Envelope(
        msgspec.Raw(body),
        list(given.tools),
        _object("--function-invocation-kwargs", given.function_invocation_kwargs),
        _object("--client-kwargs", given.client_kwargs),
        given.stream,
    )
    return _Request(msgspec.json.encode(envelope), options.MEDIA_TYPE, given.stream)


def _object(option: str, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(read(value), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = f"{option} is no JSON object: {error}."
        raise errors.UsageError(said, """Give one such as '{"user": "anna"}', or @FILE with one in it.""") from None
    return found


def _checked(run_id: str | None) -> str:
    if run_id is None:
        return uuid.uuid4().hex
    try:
        return parameters.legal_run_id("--run-id", run_id)
    except problems.Problem as problem:
        raise errors.UsageError(problem.detail) from None


def _by_http(held: owner.Owner, hub: Path, workflow: str, request: _Request, run_id: str, log: logs.RunLog) -> int:
    if not held.url:
        raise errors.HubError(
            f"The hub {hub} is in use by process {held.pid}, which serves no HTTP (yet).",
            "Try again when it is up or done, or choose another hub with --hub.",
        )
    api = remote.Api(held.url)
    headers = {"Content-Type": request.content_type}
    query = urllib.parse.urlencode({"runId": run_id})
    try:
        api.call("POST", "workflow", workflow, "run", body=request.body, headers=headers, query=query)
    except remote.Refused as error:
        raise errors.UsageError(error.message) from error
    for event in api.events(workflow, run_id, live=request.stream):
        log.event(run_id, workflow, _event(event))
        if event["type"] in PARKED_EVENTS:
            break
    status = api.call("GET", "workflow", workflow, "status", run_id)
    return _tell(status["runtimeStatus"], status["output"], status["error"], run_id)


def _event(shown: Mapping[str, Any]) -> runs.Event:
    time = datetime.datetime.fromisoformat(shown["time"]).timestamp()
    return runs.Event(shown.get("id", 0), shown["type"], time, shown["data"])


async def _here(
    app: apps.AgentFunctionApp,
    told: settings.Settings,
    workflow: str,
    request: _Request,
    run_id: str,
    log: logs.RunLog,
) -> int:
    from perdure.hosts.local import host as local

    stop = start.Stop()
    async with local.LocalHost(app, hub=told.hub, settings=told, port=None) as host:
        site = sites.Site(app.hosted_workflows, host.runs)
        found = _find(site, workflow)
        try:
            ref, given, blobs = _accept(found, request)
        except (errors.EmptyInput, errors.InvalidInput) as error:
            raise errors.UsageError(error.message, error.remedy) from error
        begun, new = await host.runs.start(found.name, run_id, ref, blobs, given=given)
        if not new and (begun.workflow != found.name or begun.input_digest != options.digest(ref, given)):
            said = f"The run {run_id!r} exists with another input or other options."
            raise errors.UsageError(said, "Choose another --run-id.")
        following = asyncio.create_task(_follow(host.runs, begun, log, live=request.stream))
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


def _accept(found: hosted.Hosted, request: _Request) -> tuple[refs.Ref, options.RunOptions, list[refs.Blob]]:
    if request.content_type == options.MEDIA_TYPE:
        return found.accept_run(request.body)
    ref, blobs = found.accept(request.body, request.content_type)
    return ref, options.NONE, blobs


def _find(site: sites.Site, workflow: str) -> hosted.Hosted:
    try:
        return site.find(workflow)
    except problems.Problem as problem:
        raise errors.UsageError(problem.detail) from None


async def _follow(store: runs.Runs, run: runs.Run, log: logs.RunLog, *, live: bool) -> None:
    async for event in store.follow(run.id, live=live):
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
