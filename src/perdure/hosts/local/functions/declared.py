"""The functions of an app as data: what each is called, what triggers it, and what it is bound to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from azure.functions.decorators import function_app

from perdure import errors
from perdure.hosts.local.functions import sdk

CLIENT = "durableClient"
HTTP_OUTPUT = "http"


class Function(msgspec.Struct, frozen=True):
    """A function of the user.

    Attributes:
        name: What it is called: for an orchestrator, activity or entity, its durable name.
        call: The function itself; of an orchestrator or entity, the SDK's handler of it.
        parameter: What its trigger's parameter is called.
        clients: Its parameters that take a durable client.
        takes_context: Whether it has a parameter ``context`` for the invocation.
        trigger: The trigger as declared.
    """

    name: str
    call: Callable[..., Any]
    parameter: str
    clients: tuple[str, ...] = ()
    takes_context: bool = False
    trigger: Any = None


class Unserved(msgspec.Struct, frozen=True):
    """A function that this host does not run, and why."""

    name: str
    why: str


Kind = Literal["orchestrator", "activity", "entity", "route", "timer"]


class Declared(msgspec.Struct, frozen=True):
    """The functions of an app, by kind and name in lower case.

    ``agents`` has the names of its agents' entities, ``workflows`` those of its workflows' orchestrations.
    """

    orchestrator: Mapping[str, Function] = {}
    activity: Mapping[str, Function] = {}
    entity: Mapping[str, Function] = {}
    route: Mapping[str, Function] = {}
    timer: Mapping[str, Function] = {}
    unserved: Sequence[Unserved] = ()
    agents: Mapping[str, str] = {}
    workflows: Mapping[str, str] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to serve."""
        return bool(self.orchestrator or self.activity or self.entity or self.route or self.timer)

    def known(self, kind: Literal["activity", "orchestrator", "entity"], name: str) -> str:
        """Give a function's exact name by its name in any case.

        Raises:
            LookupError: If there is none.
        """
        functions: Mapping[str, Function] = getattr(self, kind)
        others = {"entity": self.agents, "orchestrator": self.workflows}.get(kind, {})
        folded = name.casefold()
        found = functions[folded].name if folded in functions else others.get(folded)
        if found is None:
            for other in self.unserved:
                if other.name.casefold() == folded:
                    raise LookupError(f"The function {other.name!r} is not served on this host: it has {other.why}.")
            known = [*(function.name for function in functions.values()), *others.values()]
            names = ", ".join(map(repr, known))
            there = (
                f"the following are the known {kind} functions: {names}" if names else f"there are no {kind} functions"
            )
            raise LookupError(
                f"The function {name!r} doesn't exist, is disabled, or is not an {kind} function. "
                f"Additional info: {there}."
            )
        return found


_KINDS: Mapping[str, tuple[Kind, str]] = {
    "orchestrationTrigger": ("orchestrator", "orchestration"),
    "activityTrigger": ("activity", "activity"),
    "entityTrigger": ("entity", "entity_name"),
    "httpTrigger": ("route", ""),
    "timerTrigger": ("timer", ""),
}


_DURABLE = ("orchestrator", "activity", "entity")


def of(
    app: function_app.FunctionRegister,
    *,
    skipped: frozenset[str] = frozenset(),
    agents: Iterable[str] = (),
    workflows: Iterable[str] = (),
    taken: Iterable[str] = (),
) -> Declared:
    """Give the functions of an app.

    Args:
        app: The app.
        skipped: Names of functions that are served in another way.
        agents: Names of the entities that the app's agents are.
        workflows: Names of the orchestrations that its workflows are.
        taken: Names of what else is hosted beside them.

    Raises:
        UsageError: If two have one name, one has no trigger, or one has the name of an agent or workflow.
    """
    try:
        functions = sdk.functions_of(app)
    except ValueError as error:
        raise errors.UsageError(f"The functions of the app cannot be used: {error}") from error
    found: dict[str, dict[str, Function]] = {kind: {} for kind, _ in _KINDS.values()}
    entities = {name.casefold(): name for name in agents}
    reserved = {*entities, *(name.casefold() for name in taken)}
    unserved: list[Unserved] = []
    for function in functions:
        name = function.get_function_name() or "?"
        if name in skipped:
            continue
        why = _unserved(function)
        if why:
            unserved.append(Unserved(name, why))
            continue
        kind, named = _of(function)
        if named.name.casefold() in found[kind]:
            raise errors.UsageError(
                f"Two {kind} functions are called {named.name!r} (in any case).", "Give one of them another name."
            )
        if kind in _DURABLE and named.name.casefold() in reserved:
            raise errors.UsageError(
                f"The {kind} function {named.name!r} has the durable name of an agent or workflow of the app.",
                "Give it another name; those with 'dafx-' are for agents and workflows.",
            )
        found[kind][named.name.casefold()] = named
    flows = {name.casefold(): name for name in workflows}
    return Declared(**found, unserved=unserved, agents=entities, workflows=flows)


def _unserved(function: function_app.Function) -> str:
    """Say why a function is not served; empty if it is."""
    trigger = function.get_trigger()
    kind = str(trigger.type) if trigger is not None else "no trigger"
    if kind not in _KINDS:
        return kind
    others = [
        str(binding.type)
        for binding in function.get_bindings()
        if binding is not trigger and binding.type != CLIENT and not _is_reply(kind, binding)
    ]
    return f"{kind} with {' and '.join(others)}" if others else ""


def _is_reply(kind: str, binding: Any) -> bool:
    return bool(kind == "httpTrigger" and binding.type == HTTP_OUTPUT and binding.name == "$return")


def _of(function: function_app.Function) -> tuple[Kind, Function]:
    trigger: Any = function.get_trigger()
    kind, attribute = _KINDS[str(trigger.type)]
    call = function.get_user_function()
    bindings = function.get_bindings()
    parameters = inspect.signature(call).parameters
    return kind, Function(
        name=_named(trigger, attribute) or function.get_function_name() or "?",
        call=call,
        parameter=trigger.name,
        clients=tuple(binding.name for binding in bindings if binding.type == CLIENT),
        takes_context="context" in parameters and all(binding.name != "context" for binding in bindings),
        trigger=trigger,
    )


def _named(trigger: Any, attribute: str) -> str | None:
    """Give the name that a trigger bears; a generic one has it under the name of the setting in ``function.json``."""
    setting = "".join(part.title() if place else part for place, part in enumerate(attribute.split("_")))
    found: str | None = getattr(trigger, attribute, None) or getattr(trigger, setting, None) if attribute else None
    return found
