"""The local host: an app's workflows on the embedded engine, behind HTTP if wanted, in this process."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final, Protocol, Self, TypedDict, Unpack

from perdure import app as apps
from perdure import errors
from perdure.agents import naming as agents_naming
from perdure.engine import engine, records
from perdure.hosts.local import owner, replayed, server, serving, settings, watchdog
from perdure.hosts.local import runs as engine_runs
from perdure.hosts.local import sessions as engine_sessions
from perdure.hosts.local.functions import agents as agent_entities
from perdure.hosts.local.functions import declared, sdk, service, workflows
from perdure.routes import runs, sessions
from perdure.workflow import addresses, events, hosted, protocol, runtime_tools

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""The writer and the web server take the interpreter back from user code many times a second: waiting for it the
default 5 ms each time would be most of a step."""

_LOGGED: Final = frozenset(
    {
        "started",
        "superstep_started",
        "executor_invoked",
        "executor_failed",
        "warning",
        "error",
        "parked",
        "completed",
        "failed",
        "terminated",
    }
)


class Log(Protocol):
    """Where a host tells what its runs do."""

    @property
    def as_json(self) -> bool:
        """Whether it wants every event, not only those that people read."""
        ...

    def event(self, run_id: str, workflow: str, event: runs.Event) -> None:
        """Tell of an event of a run."""
        ...


class _Silent:
    """A log that nobody reads."""

    as_json = False

    def event(self, run_id: str, workflow: str, event: runs.Event) -> None:
        """Do nothing."""


_SILENT: Final = _Silent()


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
        log: Log | None = None,
        replay: bool = False,
    ) -> None:
        self.app = app
        self._replay = replay
        self._settings = settings
        self._address = (host, port)
        self._log = log if log is not None else _SILENT
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
        output, bound = await self._ended(run_id, timeout)
        return bound.outputs(run_id, output)

    async def state(self, run_id: str, *, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for a run's end and give its final shared state; raises as :meth:`outputs` does."""
        output, bound = await self._ended(run_id, timeout)
        return bound.state(run_id, output)

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
        payloads = _Late()
        activities: dict[str, protocol.Activity] = {}
        orchestrators: dict[str, protocol.Orchestrator] = {}
        apart = self._apart = replayed.Replayed(self.app, self.hub) if self._replay else None
        if apart is not None:
            await apart.open()
            self.bounds = apart.bounds
        else:
            self.bounds = {name: workflow.bind(payloads) for name, workflow in self.app.hosted_workflows.items()}
            for bound in self.bounds.values():
                activities |= hosted.activities_of(bound)
                orchestrators[bound.orchestrator.name] = bound.orchestrator
        self._by_orchestration = {bound.orchestrator.name: bound for bound in self.bounds.values()}
        # Agents inside workflows are for orchestrations only, and nobody else pays for them.
        hosts = self.app.agents_for_orchestrations if sdk.has_functions(self.app) else self.app.hosted_agents
        agents = {name: agent.bind(payloads) for name, agent in hosts.items() if apart is None}
        for agent in agents.values():
            activities |= agent.activities
            orchestrators[agent.orchestrator.name] = agent.orchestrator
        folder = self.app.app_folder or pathlib.Path()
        told = self._settings or settings.Settings(folder, self.hub)
        entities = [agents_naming.entity(name) for name in agents]
        taken = [*orchestrators, *activities]
        functions = declared.of(
            self.app if apart is None else apart.app,
            agents=entities,
            workflows=self._by_orchestration if apart is None else (),
            taken=taken,
        )
        flows = workflows.Workflows(self.bounds if apart is None else {})
        self.functions = service.Functions(functions, folder, told.task_hub, flows)
        orchestrators = {**self.functions.orchestrators, **orchestrators}
        activities = {**self.functions.activities, **activities}
        self.engine = engine.Engine(
            self.hub,
            orchestrators=orchestrators,
            activities=activities,
            on_commit=None if self._log is _SILENT and not agents else self._committed,
        )
        direct_sessions = self._sessions = engine_sessions.EngineSessions(self.engine, agents)
        self.sessions: sessions.Sessions = direct_sessions
        direct = engine_runs.EngineRuns(self.engine, self.bounds if apart is None else {})
        payloads.engine = self.engine
        self.functions.attach(self.engine, agent_entities.Agents(agents, direct_sessions), direct)
        self.runs: engine_runs.EngineRuns | replayed.ReplayedRuns = direct
        if apart is not None:
            self.runs = apart.runs(self.functions.instances)
            self.sessions = apart.sessions(self.functions.entities)
        await self.engine.start()
        self.resumed = self.engine.in_memory
        try:
            await self._sessions.sweep()
            await self.functions.start()
            self._serve()
            # Only now: imports at the start may hold the loop for a while, and nobody can do anything about that.
            self._watchdog = watchdog.Watchdog(asyncio.get_running_loop())
        except BaseException:
            await self._close()
            raise

    def _serve(self) -> None:
        address, port = self._address
        if port is None:
            self.functions.listen("", "")
            return
        told = self._settings or settings.Settings(self.app.app_folder or pathlib.Path(), self.hub)
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
        if self._apart is not None:
            await asyncio.to_thread(self._apart.close)
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

    async def _ended(self, run_id: str, timeout: float) -> tuple[bytes, hosted.Bound]:
        view = await self.engine.wait(run_id, timeout)
        if view is None:
            raise errors.UsageError(f"There is no run {run_id!r}.", "Start it first.")
        if not view.ended:
            raise TimeoutError(f"Run {run_id} has not ended within {timeout:g} s; it goes on.")
        if view.status != "Completed":
            run = await self.runs.get(run_id)
            raise RunFailed(run_id, view.failure if run is None else run.failure)
        output = view.output or b""
        return replayed.output(output) if self._replay else output, self._by_orchestration[view.name]

    def _committed(self, run_id: str, name: str, emitted: Sequence[bytes], view: records.InstanceView | None) -> None:
        if not self._sessions.heard(run_id, name, emitted, view) and self._log is not _SILENT:
            self._tell(run_id, name, emitted, view)

    def _tell(self, run_id: str, name: str, emitted: Sequence[bytes], view: records.InstanceView | None) -> None:
        bound = None if self._replay else self._by_orchestration.get(name)
        if bound is None:
            self.functions.tell(run_id, name, view)
            return
        now = time.time()
        for data in emitted:
            recorded = events.decode(data)
            if self._log.as_json or recorded.type in _LOGGED:
                fields = events.data(recorded, bound.values_of(run_id).plain)
                self._log.event(run_id, bound.hosted.name, runs.Event(0, recorded.type, now, fields))


class _Late:
    """The engine's payload store, which is there only once the engine has started."""

    engine: engine.Engine

    async def put(self, owner: str, blobs: Any) -> None:
        """Store blobs."""
        await self.engine.payloads.put(owner, blobs)

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give a payload."""
        return self.engine.payloads.read(owner, digest)

    async def purge(self, owner: str) -> None:
        """Delete an owner's payloads."""
        await self.engine.payloads.purge(owner)
