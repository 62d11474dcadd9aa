"""``perdure worker`` and ``perdure serve``: an app on Durable Task Scheduler."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from perdure import _version
from perdure import app as apps
from perdure.cli import start
from perdure.hosts.durabletask import connection_log, front, hub, sdk
from perdure.hosts.local import loading, logs, settings
from perdure.hosts.local.functions import sdk as functions

Main = Callable[[apps.AgentFunctionApp, settings.Settings, logs.RunLog], Coroutine[Any, Any, None]]
"""What a command does with an app."""

DRAIN_SECONDS: Final = 30.0
"""How long a stopping worker lets the steps in flight finish; what is left goes to another worker."""

FIRST_ANSWER_SECONDS: Final = 5.0
"""How long a scheduler may take to answer before somebody is told that it does not."""

SHARED: Final = "shared"


def work(
    place: str, scheduler: str, taskhub: str | None, payloads: str | None, *, concurrency: int, log_json: bool
) -> None:
    """Run an app's workflows and agents as a worker until SIGINT or SIGTERM.

    Raises:
        UsageError: If the app, its settings or the scheduler's endpoint cannot be used.
    """

    async def run(app: apps.AgentFunctionApp, told: settings.Settings, log: logs.RunLog) -> None:
        stop = start.Stop()
        async with _opened(app, told, scheduler, taskhub, payloads) as opened:
            worker = opened.worker(at_once=concurrency)
            for name in opened.bounds:
                log.say(f"        workflow {name}")
            for name in opened.agents:
                log.say(f"        agent {name}")
            log.note(f"{_who('worker', opened)} Up to {concurrency} steps at a time.")
            if not told.base_url:
                log.note(
                    "PERDURE_BASE_URL is not set: a step that mails a link, and so asks where the API is, fails here."
                )
            worker.start()
            await _until(stop, opened, log)
            log.note("Stopping: what runs is finished or given back. Once more to stop at once.")
            await worker.stop(DRAIN_SECONDS)

    _run(place, None, None, log_json, run)


def serve(
    place: str,
    scheduler: str,
    taskhub: str | None,
    payloads: str | None,
    *,
    port: int | None,
    host: str | None,
    log_json: bool,
) -> None:
    """Serve the HTTP API in front of workers until SIGINT or SIGTERM.

    Raises:
        UsageError: If the app, its settings, the scheduler's endpoint or the port cannot be used.
    """

    async def run(app: apps.AgentFunctionApp, told: settings.Settings, log: logs.RunLog) -> None:
        stop = start.Stop()
        async with _opened(app, told, scheduler, taskhub, payloads) as opened, front.Front(opened, told) as serving:
            root = f"{serving.url}/{told.route_prefix}".rstrip("/")
            for line in (*start.routes(app, root), *start.tools(app, serving.url)):
                log.say(f"        {line}")
            log.note(f"{_who('serve', opened)} Try it: {root}/docs")
            await _until(stop, opened, log)
            log.note("Stopping.")

    _run(place, port, host, log_json, run)


def _run(place: str, port: int | None, host: str | None, log_json: bool, main: Main) -> None:
    file = loading.locate(place)
    told = settings.load(file.parent, os.environ, host=host, port=port)
    told.apply(os.environ)
    logs.pass_through(as_json=log_json)
    spoken = logging.getLogger("perdure.durabletask")
    spoken.setLevel(logging.WARNING)
    spoken.addFilter(connection_log.Connection())
    # Each try to sign in would be 14 lines; that it fails is told once, with what to do.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    app = loading.load(file)
    asyncio.run(main(app, told, logs.RunLog(as_json=log_json)))


@asynccontextmanager
async def _opened(
    app: apps.AgentFunctionApp, told: settings.Settings, scheduler: str, taskhub: str | None, payloads: str | None
) -> AsyncIterator[hub.Hub]:
    where = sdk.address(scheduler, taskhub or told.task_hub)
    place = payloads or (hub.BLOB if where.secure else str(told.folder / ".perdure" / SHARED))
    kept = hub.stores(place, where.taskhub, os.environ)
    async with hub.Hub(app, where, kept, base_url=told.base_url, route_prefix=told.route_prefix) as opened:
        yield opened


async def _until(stop: start.Stop, opened: hub.Hub, log: logs.RunLog) -> None:
    """Wait until somebody says stop; tell of a scheduler that cannot be used, and of one that can again."""
    connected = opened.connect()
    asked = asyncio.create_task(stop.asked())
    told: str | None = None
    try:
        while not asked.done():
            found = await connected.fault()
            # The details change from one try to the next; what to do about it does not.
            kind = None if found is None else found.remedy or found.message
            if kind != told:
                log.note(
                    f"The scheduler at {opened.where.url} answers."
                    if found is None
                    else f"{found} It is asked again and again.",
                    None if found is None else "yellow",
                )
                told = kind
            await asyncio.wait([asked], timeout=FIRST_ANSWER_SECONDS)
    finally:
        asked.cancel()
        await connected.close()


def _who(command: str, opened: hub.Hub) -> str:
    where = opened.where
    said = " The app's hand-written functions are not served here." if functions.has_functions(opened.app) else ""
    return f"perdure {_version.__version__} {command}: scheduler {where.url}, task hub {where.taskhub}.{said}"
