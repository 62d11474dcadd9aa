"""The local host: an app's workflows on the embedded engine, behind HTTP if wanted, in this process."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import tempfile
import uuid
from collections.abc import Sequence
from typing import Any, Final, Self, TypedDict, Unpack

from perdure import app as apps
from perdure import errors
from perdure.engine import engine, records
from perdure.hosts.local import embedded, owner, replayed, run_log, server, serving, settings, watchdog
from perdure.hosts.local.functions import sdk
from perdure.workflow import addresses, hosted, protocol, runtime_tools

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""The writer and the web server take the interpreter back from user code many times a second: waiting for it the
default 5 ms each time would be most of a step."""


class Given(TypedDict, total=False):
    """What a run may be given beside its input.

    Attributes:
        tools: Tools that its agents are offered beside their own.
        function_invocation_kwargs: What tools are given.
        client_kwargs: What chat clients are given.
        stream: Whether its agents run in streaming mode.
    """

    tools: runtime_tools.Tools
    function_invocation_kwargs: hosted.Kwargs
    client_kwargs: hosted.Kwargs
    stream: bool


class RunFailed(errors.PerdureError):
    """A run that was waited for has failed or was terminated.

    Attributes:
        failure: Why.
    """

    def __init__(self, run_id: str, failure: protocol.Failure | None) -> None:
        self.failure = failure if failure is not None else protocol.Failure("Failed", "")
        super().__init__(f"Run {run_id} failed: {self.failure.type}: {self.failure.message}")


class LocalHost:
    """Hosts an app on the running loop; user code runs there.

    Args:
        app: The app.
        hub: The task hub's folder; a temporary one, deleted in the end, if not given.
        settings: How it is set up; the defaults if not given.
        host: The address to listen on.
        port: The port to listen on, 0 for a free one; None serves no HTTP.
        log: Told of each event of each run.
        replay: Whether workflows run as they do on Azure: through the functions that are registered there and the
            official SDK, which replays an orchestration's history on each of its turns.
    """

    def __init__(
        self,
        app: apps.AgentFunctionApp,
        *,
        hub: pathlib.Path | str | None = None,
        settings: settings.Settings | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        log: run_log.Log | None = None,
        replay: bool = False,
    ) -> None:
        self.app = app
        self._replay = replay
        self._settings = settings
        self._address = (host, port)
        self._log = log
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if hub is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True)
            hub = self._temporary.name
        self.hub = pathlib.Path(hub)
        self.url: str | None = None
        self.resumed = 0
        self._server: server.Server | None = None
        self._watchdog: watchdog.Watchdog | None = None
        self._interval = sys.getswitchinterval()

    async def __aenter__(self) -> Self:
        """Open the hub, set going what was in flight, and serve.

        Raises:
            HubError: If the hub cannot be had.
            UsageError: If the port cannot be had.
        """
        try:
            await self._open()
        except BaseException:
            self._forget()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what has not finished goes on when the hub is hosted again."""
        await self._close()
        self._forget()

    async def run(
        self, workflow: str, value: Any, *, run_id: str | None = None, timeout: float = 60.0, **given: Unpack[Given]
    ) -> list[Any]:
        """Run a workflow to its end and give its outputs.

        Args:
            workflow: The name it is hosted under.
            value: Its input, of the type that its start executor takes.
            run_id: The run's id; made up if not given.
            timeout: How long to wait, seconds.
            given: What :meth:`start` takes beside these.

        Raises:
            RunFailed: If the run failed or was terminated.
            TimeoutError: If it has not ended in time; it goes on.
        """
        return await self.outputs(await self.start(workflow, value, run_id=run_id, **given), timeout=timeout)

    async def start(self, workflow: str, value: Any, *, run_id: str | None = None, **given: Unpack[Given]) -> str:
        """Start a run and give its id; accepted for good when this returns.

        Args:
            workflow: The name it is hosted under.
            value: Its input, of the type that its start executor takes.
            run_id: The run's id; made up if not given.
            given: ``tools``, ``function_invocation_kwargs``, ``client_kwargs`` and ``stream``, as ``Workflow.run()``
                takes them. They hold for all of the run. A tool that is code must be one of the app's
                ``runtime_tools``. In streaming mode ``runs.follow(run_id, live=True)`` gives what agents say while
                they say it; outputs are whole responses.

        Raises:
            UsageError: If there is no such workflow.
            InvalidInput: If the value is none of what it takes, or the app does not know a tool.
        """
        found = self._workflow(workflow)
        ref, blobs = found.take(value)
        options, more = found.options(
            given.get("tools"),
            given.get("function_invocation_kwargs"),
            given.get("client_kwargs"),
            stream=given.get("stream", False),
        )
        id, fresh = run_id or uuid.uuid4().hex, not run_id
        started, _ = await self.runs.start(found.name, id, ref, [*blobs, *more], given=options, fresh=fresh)
        return started.id

    async def outputs(self, run_id: str, *, timeout: float = 60.0) -> list[Any]:
        """Wait for a run's end and give its outputs.

        Raises:
            UsageError: If there is no such run.
            RunFailed: If it failed or was terminated.
            TimeoutError: If it has not ended in time; it goes on.
        """
        output, bound, owner = await self._ended(run_id, timeout)
        return bound.outputs(owner, output)

    async def state(self, run_id: str, *, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for a run's end and give its final shared state; raises as :meth:`outputs` does."""
        output, bound, owner = await self._ended(run_id, timeout)
        return bound.state(owner, output)

    async def drain(self, seconds: float) -> None:
        """Take no more work and let what runs finish, for so long at most."""
        self.runs.stopping = True
        await self.engine.drain(seconds)

    async def crash(self) -> None:
        """Stop as if the process were killed: nothing more is committed."""
        self._let_go(now=True)
        await self.engine.crash()
        await self.functions.close()

    async def restart(self) -> None:
        """Host the same hub again, after a crash or as it stands."""
        await self._close()
        await self._open()

    async def _open(self) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        hosting = self._hosting = self._hosted()
        await hosting.open()
        self.bounds = hosting.bounds
        self.functions = hosting.functions(self._folder, self._told.task_hub)
        self.engine = engine.Engine(
            self.hub,
            orchestrators={**self.functions.orchestrators, **hosting.orchestrators},
            activities={**self.functions.activities, **hosting.activities},
            on_commit=self._committed if self._log is not None or hosting.has_sessions else None,
        )
        hosting.attach(self.engine, self.functions)
        self.runs, self.sessions = hosting.runs, hosting.sessions
        await self.engine.start()
        self.resumed = self.engine.in_memory
        try:
            await hosting.sweep()
            await self.functions.start()
            self._serve()
            # Only now: imports at the start may hold the loop for a while, and nobody can do anything about that.
            self._watchdog = watchdog.Watchdog(asyncio.get_running_loop())
        except BaseException:
            await self._close()
            raise

    def _hosted(self) -> embedded.Embedded:
        if self._replay:
            return replayed.Replayed(self.app, self.hub)
        # Agents inside workflows are for orchestrations only, and nobody else pays for them.
        living = self.app.agents_for_orchestrations if sdk.has_functions(self.app) else self.app.hosted_agents
        return embedded.Embedded(self.app, self.app.hosted_workflows, living)

    @property
    def _folder(self) -> pathlib.Path:
        return self.app.app_folder or pathlib.Path()

    @property
    def _told(self) -> settings.Settings:
        return self._settings or settings.Settings(self._folder, self.hub)

    def _serve(self) -> None:
        address, port = self._address
        if port is None:
            self.functions.listen("", "")
            return
        told = self._told
        beside = self.functions if self.functions.declared else None
        self._server = serving.server_of(self.app, told, (address, port), self.runs, self.sessions, beside=beside)
        address, port = self._server.start()
        self.url = f"http://{server.host_in_url(address)}:{port}"
        self.functions.listen(self.url, told.base_url or self.url)
        for bound in self.bounds.values():
            bound.activities.host_metadata = {
                addresses.HOST_URL: told.base_url or self.url,
                addresses.ROUTE_PREFIX: told.route_prefix,
            }
        owner.announce(self.hub, f"{self.url}/{told.route_prefix}".rstrip("/"))

    async def _close(self) -> None:
        await asyncio.to_thread(self._let_go)
        # What the functions' end cancels is no result of theirs: by then nobody takes one.
        await self.engine.close()
        await self.functions.close()
        await asyncio.to_thread(self._hosting.close)
        sys.setswitchinterval(self._interval)

    def _forget(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def _let_go(self, *, now: bool = False) -> None:
        serving, self._server = self._server, None
        if serving is not None:
            serving.stop(now=now)
            owner.retract(self.hub)
        watching, self._watchdog = self._watchdog, None
        if watching is not None:
            watching.stop()

    def _workflow(self, name: str) -> hosted.HostedWorkflow:
        found = self.app.hosted_workflows.get(name)
        if found is None:
            hosts = ", ".join(self.app.hosted_workflows)
            raise errors.UsageError(f"There is no workflow {name!r}.", f"This app hosts: {hosts}.")
        return found

    async def _ended(self, run_id: str, timeout: float) -> tuple[bytes, hosted.Bound, str]:
        view = await self.engine.wait(run_id, timeout)
        if view is None:
            raise errors.UsageError(f"There is no run {run_id!r}.", "Start it first.")
        if not view.ended:
            raise TimeoutError(f"Run {run_id} has not ended within {timeout:g} s; it goes on.")
        if view.status != "Completed":
            run = await self.runs.get(run_id)
            raise RunFailed(run_id, view.failure if run is None else run.failure)
        bounds = {bound.orchestrator.name: bound for bound in self.bounds.values()}
        output, owner = await self._hosting.completed(view)
        return output, bounds[view.name], owner

    def _committed(self, run_id: str, name: str, emitted: Sequence[bytes], view: records.InstanceView | None) -> None:
        if self._hosting.heard(run_id, name, emitted, view) or self._log is None:
            return
        bound = self._hosting.direct.get(name)
        if bound is None:
            self.functions.tell(run_id, name, view)
        else:
            run_log.tell(self._log, bound, run_id, emitted)
