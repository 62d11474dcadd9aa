"""A worker and the HTTP API of a task hub in the test's process, used as the local host is."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import threading
import uuid
from typing import Any, Self

from tests.durabletask.scheduler import Scheduler

from perdure import AgentFunctionApp
from perdure.hosts.durabletask import client, front, hub, sdk, worker
from perdure.hosts.local import host as local
from perdure.hosts.local import settings as settings_of
from perdure.hosts.replay import runs, sessions

JOIN_SECONDS = 60.0

_stopping: list[threading.Thread] = []


async def kill(scheduler: Scheduler, killed: worker.Worker) -> None:
    """Take a worker from a scheduler as if its process were killed: what it had is due again."""
    scheduler.cut()
    await killed.let_go()
    # It takes a second to see that nothing comes any more; nobody waits for that.
    thread = threading.Thread(target=killed.stop_now)
    thread.start()
    _stopping.append(thread)


def join() -> None:
    """Wait for the workers that were killed."""
    while _stopping:
        thread = _stopping.pop()
        thread.join(JOIN_SECONDS)
        assert not thread.is_alive(), "a worker that was killed does not stop: something it does is waited for"


class SchedulerHost:
    """Hosts an app on a scheduler, with what tests use of ``perdure.testing.LocalHost``.

    Args:
        app: The app.
        scheduler: The scheduler; one of its own if not given.
        port: The port to listen on, 0 for a free one; None serves no HTTP.
        stores: What is shared; a folder if not given.
        settings: How the HTTP API is set up; the defaults if not given.
    """

    def __init__(
        self,
        app: AgentFunctionApp,
        *,
        scheduler: Scheduler | None = None,
        port: int | None = None,
        stores: hub.Stores | None = None,
        settings: settings_of.Settings | None = None,
    ) -> None:
        self.app = app
        self.url = ""
        self.runs: runs.ReplayRuns
        self.sessions: sessions.ReplaySessions
        self._port = port
        self._settings = settings or settings_of.Settings(pathlib.Path(), pathlib.Path())
        self._own = scheduler is None
        self.scheduler = scheduler or Scheduler()
        if self._own:
            self.scheduler.start()
        self._folder = tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True)
        self._stores = stores or hub.stores(self._folder.name, "test", {})
        self._front: front.Front | None = None
        self._client: client.SchedulerClient | None = None
        self._worker: worker.Worker | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _open(self) -> None:
        made = hub.Hub(self.app, self._where, self._stores)
        if self._port is None:
            self._client = made.connect()
            self.runs, self.sessions = made.runs(self._client), made.sessions(self._client)
        else:
            told = dataclasses.replace(self._settings, port=self._port)
            self._front = await front.Front(made, told).__aenter__()
            self.runs, self.sessions, self.url = self._front.runs, self._front.sessions, self._front.url
        self.employ()

    @property
    def _where(self) -> sdk.Address:
        return sdk.address(self.scheduler.address, "test")

    def employ(self) -> None:
        """Start a worker."""
        self._worker = hub.Hub(self.app, self._where, self._stores, base_url=self.url).worker().start()

    async def dismiss(self) -> None:
        """Kill the worker."""
        if self._worker is not None:
            await kill(self.scheduler, self._worker)
            self._worker = None

    async def __aexit__(self, *_: object) -> None:
        await self.crash()
        if self._own:
            self.scheduler.stop()
        self._folder.cleanup()

    async def crash(self) -> None:
        await self.dismiss()
        if self._front is not None:
            await self._front.__aexit__()
            self._front = None
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def restart(self) -> None:
        await self.crash()
        await self._open()

    async def start(self, workflow: str, value: Any, *, run_id: str | None = None) -> str:
        ref, blobs = self.app.hosted_workflows[workflow].take(value)
        run, _ = await self.runs.start(workflow, run_id or uuid.uuid4().hex, ref, blobs, fresh=not run_id)
        return run.id

    async def outputs(self, run_id: str, *, timeout: float = 60.0) -> list[Any]:
        try:
            return await self.runs.outputs(run_id, timeout)
        except LookupError as error:
            raise local.RunFailed(run_id, error.args[0]) from error

    async def state(self, run_id: str, *, timeout: float = 60.0) -> dict[str, Any]:
        return await self.runs.state(run_id, timeout)
