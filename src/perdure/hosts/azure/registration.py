"""Adding orchestrators, activities and entities to a Durable Functions app, under their durable names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func

from perdure.hosts.azure import beside, orchestration, wire
from perdure.hosts.replay import lives
from perdure.hosts.replay import wire as texts
from perdure.workflow import protocol

Work = Callable[[str, str, texts.Task], Awaitable[texts.Reply]]
"""Does an activity: for the orchestration of this id, the activity of this name, with this input."""


def add_orchestrators(app: df.DFApp, orchestrators: Iterable[protocol.Orchestrator], held: lives.Replays) -> None:
    """Add orchestrator functions; they hear of the end of each turn, which those of the SDK's own decorator do not.

    Args:
        app: The app.
        orchestrators: What they run.
        held: Where lives are between their turns.
    """
    for one in orchestrators:
        trigger = app.generic_trigger("context", "orchestrationTrigger", orchestration=one.name)
        app.function_name(one.name)(trigger(orchestration.function(one, held)))


def add_activities(app: df.DFApp, names: Iterable[str], work: Work, aside: beside.Beside) -> None:
    """Add activity functions: those of the names, and those that write down and look up.

    Args:
        app: The app.
        names: Durable names of the activities.
        work: Does them.
        aside: Does what is beside them.
    """
    for name in (*names, texts.NOTE):
        _add(app, name, _perform(name, work))

    async def perform(order: Any) -> str:
        return await aside(wire.unpack(wire.Aside, order))

    _add(app, wire.ASIDE, perform)


def add_entity(app: df.DFApp, function: str, name: str, entity: Callable[[str], Awaitable[str]]) -> None:
    """Add an entity function; it is asynchronous, which those of the SDK's own decorator are not.

    Args:
        app: The app.
        function: The function's name.
        name: The entity's durable name.
        entity: Carries out a batch of operations.
    """

    async def handle(context: func.EntityContext) -> str:
        return await entity(context if isinstance(context, str) else context.body)

    app.function_name(function)(app.generic_trigger("context", "entityTrigger", entityName=name)(handle))


def _perform(name: str, work: Work) -> Any:
    async def perform(order: Any) -> str:
        given = wire.unpack(wire.Order, order)
        return texts.pack(await work(given.instance, name, texts.unpack(given.task, texts.Task)))

    return perform


def _add(app: df.DFApp, name: str, perform: Any) -> None:
    app.function_name(name)(app.activity_trigger("order", name)(perform))
