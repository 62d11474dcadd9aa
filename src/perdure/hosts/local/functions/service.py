"""An app's hand-written functions on one host: what the engine runs of them, and what HTTP finds."""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

from perdure import errors
from perdure.engine import engine, records
from perdure.hosts.azure import sdk as azure
from perdure.hosts.local import runs as engine_runs
from perdure.hosts.local.functions import (
    agents,
    call_http,
    declared,
    entities,
    http,
    instances,
    invocation,
    management,
    orchestration,
    sdk,
    steps,
    timers,
    workflows,
)
from perdure.routes import messages, problems, table
from perdure.routes import site as sites
from perdure.workflow import protocol

T = TypeVar("T")

log = logging.getLogger("perdure.functions")


class Functions:
    """The functions of an app, hosted; made on the engine's loop.

    Args:
        functions: What the app declares.
        folder: The app's folder.
        hub: The task hub's name.
        flows: The app's workflows.

    Raises:
        UsageError: If the schedule of a timer cannot be read.
    """

    def __init__(
        self, functions: declared.Declared, folder: pathlib.Path, hub: str, flows: workflows.Workflows
    ) -> None:
        sdk.quiet()
        azure.remember_times()
        self.declared = functions
        self.routes = http.routes_of(functions)
        self._invoker = invocation.Invoker(self.client, folder)
        self._hub = hub
        self._flows = flows
        self._loop = asyncio.get_running_loop()
        self._address: asyncio.Future[tuple[str, str]] = self._loop.create_future()
        self.orchestrators: Mapping[str, protocol.Orchestrator] = {
            each.name: orchestration.FunctionOrchestrator(each.name, each.call, functions.known, flows)
            for each in functions.orchestrator.values()
        } | {entities.SIGNAL: entities.SignalOrchestrator()}
        self.entities = entities.Entities(functions, self._invoker)
        self._timers = timers.Timers(functions, self._invoker, os.environ)
        activities: dict[str, protocol.Activity] = {
            entities.ACTIVITY: self.entities,
            steps.HTTP_ACTIVITY: call_http.request,
            orchestration.CLEAR_ACTIVITY: self._clear,
            workflows.ACTIVITY: flows,
        }
        for each in functions.activity.values():
            activities[each.name] = _Activity(each, self._invoker)
        self.activities: Mapping[str, protocol.Activity] = activities

    def attach(self, durable: engine.Engine, living: agents.Agents, runs: engine_runs.EngineRuns) -> None:
        """Take the engine, once it is there, with the agents and the runs of workflows on it."""
        self.entities.agents = living
        self._flows.runs = runs
        self.instances = instances.Instances(durable, self.declared, self._flows)
        self._engine = self.entities.engine = durable
        self._management = management.Management(self.instances, self.entities, self._hub)

    def listen(self, here: str, public: str) -> None:
        """Take the address that this host answers at, and the one that links for others start with.

        Until then functions with a durable client wait: those of a life before may be set going earlier.
        """
        self._address.set_result((here, public))

    async def start(self) -> None:
        """Take up what was left; the engine has started."""
        await self.entities.sweep()
        self._timers.start(self._engine)

    def tell(self, instance_id: str, name: str, view: records.InstanceView | None) -> None:
        """Log how an instance ended, if it has."""
        if view is None:
            return
        if view.failure is None or view.status == "Terminated":
            log.info("Orchestration %r (%s): %s", instance_id, name, view.status)
        else:
            said = "\n".join(filter(None, [view.failure.message, view.failure.detail]))
            log.error("Orchestration %r (%s): %s: %s", instance_id, name, view.status, said)

    async def close(self) -> None:
        """End what runs of it."""
        await self._timers.close()
        await self.entities.close()
        await self._invoker.close()
        await sdk.close_client()
        self._address.cancel()

    def match(
        self, site: sites.Site, method: str, path: str, builtin: bool
    ) -> tuple[table.Route, dict[str, str]] | None:
        """Find what answers a request on the raw path, or None.

        Args:
            site: The site that it is served beside.
            method: The request's method.
            path: Its path, still encoded.
            builtin: Whether the site itself has something there: only a route without parameters goes before it.

        Raises:
            Problem: 404 below the management API's root; 405 where a route takes other methods.
        """
        folded = path.casefold()
        if folded == management.ROOT or folded.startswith(f"{management.ROOT}/"):
            return self._managing(method, path[len(management.ROOT) :]), {}
        below = _below(path, site.prefix)
        if below is None:
            return None
        found = [(route, params) for route, params in http.find(self.routes, below) if route.literal or not builtin]
        asked = "GET" if method == "HEAD" else method
        for route, params in found:
            if asked in route.methods or method in route.methods:
                return self._calling(route, asked), params
        if found and not builtin:
            allow = ", ".join(http.allowed([route for route, _ in found]))
            raise problems.Problem(
                405, f"{method} is not allowed on {problems.clipped(path)}; allowed: {allow}.", headers={"allow": allow}
            )
        return None

    def methods(self, site: sites.Site, path: str) -> tuple[str, ...]:
        """Give the methods that a raw path takes; empty if it is none of these."""
        if path.casefold().startswith(f"{management.ROOT}/"):
            return ("DELETE", "GET", "POST")
        below = _below(path, site.prefix)
        return () if below is None else http.allowed([route for route, _ in http.find(self.routes, below)])

    def _managing(self, method: str, path: str) -> table.Route:
        segments = [unquote(part) for part in path.strip("/").split("/") if part]
        handler = self._management.find("GET" if method == "HEAD" else method, segments)
        if handler is None:
            raise problems.Problem(404, f"There is nothing at {problems.clipped(path)} of the management API.")

        async def answer(site: sites.Site, request: messages.Request) -> messages.Reply:
            return await self._there(lambda: handler(_linked(site, request)))

        return table.Route("durabletask", method, (), answer)

    def _calling(self, route: http.Route, method: str) -> table.Route:
        async def answer(site: sites.Site, request: messages.Request) -> messages.Reply:
            return await self._there(lambda: http.call(self._invoker, route, request, site.origin(request)))

        return table.Route(route.function.name, method, (), answer)

    async def _there(self, make: Callable[[], Awaitable[T]]) -> T:
        """Do something on the engine's loop."""

        async def run() -> T:
            return await make()

        if self._loop.is_closed():
            raise errors.HubError("The host is stopping.", "Ask again once it is up.")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._loop))

    async def _clear(self, instance_id: str, key: str, call: Any) -> protocol.Outcome:
        """Delete an ended instance, so that another can have its id."""
        step: steps.Step = call
        await self.instances.purge(step.child_id)
        return protocol.Outcome("null", b"null")

    async def client(self) -> str:
        """Give what a durable client of this host is made from, once there is an address to talk to.

        Raises:
            UsageError: If this host listens on no port.
        """
        here, public = await asyncio.shield(self._address)
        if not here:
            raise errors.UsageError(
                "A durable client talks to its host over HTTP, and this host listens on no port.",
                "Give LocalHost a port; 0 takes a free one.",
            )
        return self._management.client(here, public)


class _Activity:
    """An activity function as an activity of the engine."""

    def __init__(self, function: declared.Function, invoker: invocation.Invoker) -> None:
        self._function = function
        self._invoker = invoker

    async def __call__(self, instance_id: str, key: str, call: Any) -> protocol.Outcome:
        step: steps.Step = call
        name = self._function.name
        try:
            value = await self._invoker.call(self._function, sdk.decode_input(step.input or "null"))
            text = sdk.encode_result(value)
        except Exception as error:
            raise ActivityFailed(f"Activity function '{name}' failed: {type(error).__name__}: {error}") from error
        return protocol.Outcome(text, text.encode())


class ActivityFailed(Exception):
    """An activity function raised."""


def _linked(site: sites.Site, request: messages.Request) -> messages.Request:
    """Give a request whose origin is what links start with."""
    origin = site.origin(request)
    if origin == request.origin:
        return request
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    return messages.Request(**{**fields, "origin": origin})


def _below(path: str, prefix: str) -> str | None:
    """Give a path below the route prefix, or None if it is not there."""
    start = f"/{prefix}/" if prefix else "/"
    return path[len(start) :] if path.casefold().startswith(start.casefold()) else None
