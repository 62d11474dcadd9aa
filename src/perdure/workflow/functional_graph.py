"""The internals of the framework's functional workflows: with ``graph`` the only module that touches private names.

Read off agent-framework-core 1.23, where the functional form is experimental; ``graph.moved`` says at import when a
name has moved.
"""

from __future__ import annotations

import inspect
import typing
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

import agent_framework
from agent_framework import FunctionalWorkflow, FunctionalWorkflowAgent, RunContext, StepWrapper, WorkflowEvent

from perdure.workflow import addresses, graph, recorder

CONTRACT: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "agent_framework._workflows._functional": {
        "FunctionalWorkflow": (),
        "FunctionalWorkflowAgent.run": ("messages", "responses", "checkpoint_id", "checkpoint_storage"),
        "FunctionalWorkflow._execute": ("self", "ctx", "message"),
        "FunctionalWorkflow.run": ("self", "message", "responses", "checkpoint_id", "checkpoint_storage", "kwargs"),
        "FunctionalWorkflow._classify_signature": ("func",),
        "FunctionalWorkflow._discover_workflow_dependencies": ("func",),
        "RunContext._advance_auto_request_info_index_for_cached_step": ("self", "key"),
        "RunContext._get_events": ("self",),
        "RunContext._get_automatic_step_cache_key": ("self", "step_name", "wrapper_identity", "identity"),
        "RunContext._get_explicit_step_cache_key": ("self", "step_name", "wrapper_identity", "identity"),
        "RunContext._get_legacy_step_cache_key": ("self", "step_name"),
        "RunContext._set_cached_result": ("self", "key", "value", "replayable"),
        "RunContext.request_info": ("self", "request_data", "response_type", "request_id"),
        "StepWrapper": (),
        "_decode_versioned_step_cache_key": ("key",),
        "_encode_step_cache_key": ("kind", "step_name", "wrapper_identity", "identity", "occurrence"),
        "_get_step_wrapper_identity": ("func",),
    },
}
"""Module, name and parameters of everything private that perdure calls."""

AGENT_ATTRIBUTES: Final = ("_workflow",)
STEP_ATTRIBUTES: Final = ("_func", "_replay_key", "_wrapper_identity_is_durable", "_wrapper_source_identity", "name")
STATE_KEYS: Final = ("_step_cache", "_step_cache_auto_request_info_counts", "_original_message")
"""What a checkpoint of a functional workflow holds beside the user's own state."""

_UNSAID: Final = inspect.Parameter.empty

if gone := graph.moved(CONTRACT):
    raise ImportError(
        f"perdure cannot host functional workflows of agent-framework-core {agent_framework.__version__}: "
        f"{', '.join(gone)} has moved or changed. Install a release that perdure knows: "
        'pip install "agent-framework-core>=1.23,<2" --upgrade, or upgrade perdure.'
    )

from agent_framework._workflows import _functional  # noqa: E402


class Another:
    """The same workflow once more: an instance holds the state of one run.

    A request without an id gets one that is made of the step entered or left last before it, and so depends neither on
    what goes on beside it nor on whether that step was run again. In process it is numbered by the order of all, and
    where several are open may take the answer of another.

    Args:
        workflow: The workflow as it was built.
        metadata: What the function may learn of its host.
        streams: Whether it is to be told that its run streams.
    """

    def __init__(self, workflow: FunctionalWorkflow, metadata: Mapping[str, Any], streams: bool) -> None:
        function = workflow._func  # pyright: ignore[reportPrivateUsage]
        self.workflow = FunctionalWorkflow(function, name=workflow.name, description=workflow.description)
        self._executes = self.workflow._execute  # pyright: ignore[reportPrivateUsage]
        # Not a subclass: defining one is using the experimental form, of which the framework warns.
        vars(self.workflow)["_execute"] = self._execute
        self._metadata = metadata
        self._streams = streams
        self._made: dict[str, int] = {}
        self.context: RunContext | None = None

    async def _execute(self, ctx: RunContext, message: Any) -> Any:
        self.context = ctx
        asks = ctx.request_info

        async def request_info(request_data: Any, response_type: type, *, request_id: str | None = None) -> Any:
            return await asks(request_data, response_type, request_id=request_id or self._next_id())

        entering = {f"_get_{kind}_step_cache_key": _entering(ctx, kind) for kind in ("legacy", "automatic", "explicit")}
        leaving = {name: _leaving(getattr(ctx, name)) for name in _LEAVES}
        own = {"request_info": request_info, "is_streaming": lambda: self._streams, "host_metadata": self._metadata}
        vars(ctx).update(entering, **leaving, **own)
        return await self._executes(ctx, message)

    def _next_id(self) -> str:
        place = _place.get()
        made = self._made[place] = self._made.get(place, 0) + 1
        return str(uuid.uuid5(recorder.REQUEST_NAMESPACE, f"{self._metadata[addresses.INSTANCE_ID]}/{place}/{made}"))


_place: ContextVar[str] = ContextVar("place", default="")
"""The step that was entered or left last in this line of control."""

_LEAVES: Final = ("_set_cached_result", "_advance_auto_request_info_index_for_cached_step")
"""What the framework calls when a step has returned, and when it is not run again because it had."""


def _entering(ctx: RunContext, kind: str) -> Callable[..., str]:
    key_of: Callable[..., str] = getattr(ctx, f"_get_{kind}_step_cache_key")

    def enter(*arguments: str) -> str:
        key = key_of(*arguments)
        _place.set(_call(key))
        return key

    return enter


def _leaving(done: Callable[..., None]) -> Callable[..., None]:
    def leave(key: str, *arguments: Any, **options: Any) -> None:
        done(key, *arguments, **options)
        _place.set(f"after {_call(key)}")

    return leave


def _call(key: str) -> str:
    parts = _functional._decode_versioned_step_cache_key(key)  # pyright: ignore[reportPrivateUsage]
    # Without the digest of the step's code, so that a request stays what it is when a line is added above.
    return key if parts is None else f"{parts[1]}/{parts[3]}/{parts[4]}"


def workflow_of(agent: FunctionalWorkflowAgent) -> FunctionalWorkflow:
    """Give the workflow that an agent stands for."""
    return agent._workflow  # pyright: ignore[reportPrivateUsage]


def another_agent(agent: FunctionalWorkflowAgent) -> FunctionalWorkflowAgent:
    """Give an agent for a workflow of its own."""
    built = workflow_of(agent)
    function = built._func  # pyright: ignore[reportPrivateUsage]
    workflow = FunctionalWorkflow(function, name=built.name, description=built.description)
    return FunctionalWorkflowAgent(workflow=workflow, name=agent.name, description=agent.description)


def input_type(workflow: FunctionalWorkflow) -> Any:
    """Give the type that the function's parameter is annotated with; ``Any`` where it is not.

    Raises:
        ValueError: If the function has no parameter for an input, without which the framework starts no run.
    """
    function = workflow._func  # pyright: ignore[reportPrivateUsage]
    names = FunctionalWorkflow._classify_signature(function)  # pyright: ignore[reportPrivateUsage]
    if not names:
        raise ValueError(
            f"The function of workflow {workflow.name!r} takes no input, and the framework starts no run without one: "
            "give it a parameter beside the RunContext."
        )
    return _hints(function).get(names[0], Any)


def value_types(workflow: FunctionalWorkflow) -> Iterator[Any]:
    """Give every type that the function and its steps take and give."""
    functions = [workflow._func, *(item._func for item in _steps(workflow))]  # pyright: ignore[reportPrivateUsage]
    for function in functions:
        yield from (hint for hint in _hints(function).values() if hint is not RunContext)


def step_names(workflow: FunctionalWorkflow) -> list[str]:
    """Name the steps that can be found from the function without running it."""
    return sorted({item.name for item in _steps(workflow)})


def unreplayable(workflow: FunctionalWorkflow) -> list[str]:
    """Name the steps whose results the framework cannot tell apart when the function is run again."""
    return sorted(
        item.name
        for item in _steps(workflow)
        if item._replay_key is None  # pyright: ignore[reportPrivateUsage]
        and not item._wrapper_identity_is_durable  # pyright: ignore[reportPrivateUsage]
    )


def events_of(running: Another, after: int) -> list[WorkflowEvent[Any]]:
    """Give what a running function has emitted since its first so many events."""
    ctx = running.context
    return [] if ctx is None else ctx._get_events()[after:]  # pyright: ignore[reportPrivateUsage]


def step_of(key: str) -> str:
    """Give the name of the step that a key of the step cache is for."""
    found = _functional._decode_versioned_step_cache_key(key)  # pyright: ignore[reportPrivateUsage]
    return found[1] if found is not None else key.rpartition("::")[0]


def renewed(keys: Iterable[str], workflow: FunctionalWorkflow) -> dict[str, str]:
    """Give the keys under which today's steps look for results that were recorded by steps of older code.

    The framework's keys hold a digest of the step's code, down to its line number. A result stays what it is when a
    line is added above, so a step of the same name takes it.
    """
    today: dict[str, list[StepWrapper[Any]]] = {}
    for item in _steps(workflow):
        today.setdefault(item.name, []).append(item)
    found: dict[str, str] = {}
    for key in keys:
        parts = _functional._decode_versioned_step_cache_key(key)  # pyright: ignore[reportPrivateUsage]
        same = today.get(parts[1], []) if parts is not None else []
        if parts is None or len(same) != 1:
            found[key] = key
            continue
        kind, name, _, identity, occurrence = parts
        found[key] = _functional._encode_step_cache_key(  # pyright: ignore[reportPrivateUsage]
            kind, name, _identity(same[0], kind), identity, occurrence
        )
    return found


def _identity(item: StepWrapper[Any], kind: str) -> str:
    if kind == "explicit":
        return item._wrapper_source_identity  # pyright: ignore[reportPrivateUsage]
    return _functional._get_step_wrapper_identity(item._func)[0]  # pyright: ignore[reportPrivateUsage]


def _steps(workflow: FunctionalWorkflow) -> set[StepWrapper[Any]]:
    function = workflow._func  # pyright: ignore[reportPrivateUsage]
    return FunctionalWorkflow._discover_workflow_dependencies(function)[0]  # pyright: ignore[reportPrivateUsage]


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        # A name that exists only for type checkers: what is not a string is still known.
        found = inspect.signature(function).parameters.items()
        return {
            name: item.annotation for name, item in found if not isinstance(item.annotation, (str, type(item.empty)))
        }
