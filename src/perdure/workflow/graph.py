"""The framework's workflow internals: the only module that touches them.

Everything private that perdure needs of ``agent_framework`` is imported, named in :data:`CONTRACT` and wrapped
here. Read off agent-framework-core 1.23; ``moved`` says at import when one of them has.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, cast

import agent_framework
from agent_framework import (
    Executor,
    InProcRunnerContext,
    Workflow,
    WorkflowContext,
    WorkflowEvent,
    WorkflowExecutor,
    WorkflowInvocationKwargs,
    WorkflowMessage,
)

from perdure import errors
from perdure.workflow import naming, shape

CONTRACT: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "agent_framework._workflows._edge_runner": {
        "create_edge_runner": ("edge_group", "executors"),
        "EdgeRunner.send_message": ("self", "message", "state", "ctx"),
        "FanInEdgeRunner.snapshot_state": ("self",),
        "FanInEdgeRunner.restore_state": ("self", "state"),
    },
    "agent_framework._workflows._edge": {
        "EdgeGroup": ("edges",),
        "InternalEdgeGroup": ("executor_id",),
        "Edge": ("source_id", "target_id", "condition", "condition_name"),
    },
    "agent_framework._workflows._state": {
        "State.set": ("self", "key", "value"),
        "State.get": ("self", "key", "default"),
        "State.has": ("self", "key"),
        "State.delete": ("self", "key"),
        "State.clear": ("self",),
        "State.commit": ("self",),
        "State.discard": ("self",),
        "State.export_state": ("self",),
        "State.import_state": ("self", "state"),
        "State._validate": ("self", "key", "validator"),
    },
    "agent_framework._workflows._runner_context": {
        "MessageType": (),
        "WorkflowMessage": (
            "data",
            "source_id",
            "target_id",
            "type",
            "trace_contexts",
            "source_span_ids",
            "original_request_info_event",
        ),
    },
    "agent_framework._workflows._executor": {
        "Executor.execute": (
            "self",
            "message",
            "source_executor_ids",
            "state",
            "runner_context",
            "trace_contexts",
            "source_span_ids",
        ),
        "Executor.can_handle": ("self", "message"),
        "Executor._create_context_for_handler": (
            "self",
            "source_executor_ids",
            "state",
            "runner_context",
            "trace_contexts",
            "source_span_ids",
            "request_id",
        ),
        "Executor._cancel_pending_request": ("self", "request_id", "ctx"),
        "Executor.on_checkpoint_save": ("self",),
        "Executor.on_checkpoint_restore": ("self", "state"),
    },
    "agent_framework._workflows._workflow_context": {
        "WorkflowContext": (
            "executor",
            "source_executor_ids",
            "state",
            "runner_context",
            "trace_contexts",
            "source_span_ids",
            "request_id",
        ),
        "WorkflowContext.request_info": ("self", "request_data", "response_type", "request_id"),
    },
    "agent_framework._workflows._workflow": {
        "Workflow.run": ("self", "message", "responses", "tools", "function_invocation_kwargs", "client_kwargs"),
        "Workflow.cancel_pending_requests": ("self", "request_ids", "tools"),
        "Workflow._run_workflow_with_tracing": ("self", "initial_executor_fn", "is_continuation"),
        "Workflow._resolve_invocation_kwargs": ("self", "kwargs", "param_name"),
        "Workflow._to_legacy_invocation_kwargs": ("resolved",),
    },
    "agent_framework._workflows._runner": {
        "RunnerImpl.context": (),
        "RunnerImpl.state": (),
        "RunnerImpl.reset_iteration_count": ("self",),
        "RunnerImpl.run_until_convergence": ("self",),
    },
    "agent_framework._workflows._workflow_executor": {
        "WorkflowExecutor.on_checkpoint_save": ("self",),
        "WorkflowExecutor._process_workflow_result": ("self", "result", "ctx"),
        "WorkflowExecutor._handle_response": ("self", "request_id", "response", "ctx"),
    },
    "agent_framework._workflows._const": {
        "INTERNAL_SOURCE_ID": ("executor_id",),
        "WORKFLOW_RUN_KWARGS_KEY": (),
        "RESOLVED_WORKFLOW_RUN_KWARGS_KEY": (),
        "ROUTED_WORKFLOW_RUN_KWARGS_KEY": (),
        "RAW_FUNCTION_INVOCATION_KWARGS_KEY": (),
        "RAW_CLIENT_KWARGS_KEY": (),
    },
    "agent_framework._workflows._typing_utils": {"is_instance_of": ("data", "target_type")},
}
"""Module, name and parameters of everything private that perdure calls or overrides."""

EXECUTOR_ATTRIBUTES: Final = frozenset(
    {
        "id",
        "type",
        "type_",
        "_execution_lock",
        "_execution_lock_loop",
        "_handlers",
        "_handler_specs",
        "_response_handlers",
        "_response_handler_specs",
        "_original_func",
        "_has_context",
        "_is_async",
        "is_request_response_capable",
    }
)
"""Attributes that the framework gives an executor; any other is the user's."""

IDLE: Final[Mapping[str, Any]] = {"_execution_lock": None, "_execution_lock_loop": None}
"""Attributes of an executor that nothing runs."""

ENDLESS: Final = 2**31 - 1
"""Supersteps of a workflow that may have as many as it likes."""

WRAPPER_ATTRIBUTES: Final = frozenset({"workflow", "allow_direct_output", "_propagate_request"})
"""Attributes that the framework gives an executor that wraps a workflow."""

WORKFLOW_ATTRIBUTES: Final = (
    "_active_run",
    "_output_designation",
    "_runner",
    "_runner_context",
    "_status",
    "edge_groups",
    "executors",
    "graph_signature_hash",
)


def moved(contract: Mapping[str, Mapping[str, Sequence[str]]] = CONTRACT) -> list[str]:
    """Name what is no longer where a contract says, or takes other parameters."""
    found: list[str] = []
    for module, names in contract.items():
        for name, parameters in names.items():
            try:
                target: Any = importlib.import_module(module)
                for part in name.split("."):
                    target = getattr(target, part)
                actual = list(inspect.signature(target).parameters) if parameters else []
            except (ImportError, AttributeError, ValueError):
                found.append(f"{module}.{name}")
                continue
            if any(parameter not in actual for parameter in parameters):
                found.append(f"{module}.{name}({', '.join(actual)})")
    return found


if gone := moved():
    raise ImportError(
        f"perdure cannot host workflows of agent-framework-core {agent_framework.__version__}: "
        f"{', '.join(gone)} has moved or changed. Install a release that perdure knows: "
        'pip install "agent-framework-core>=1.23,<2" --upgrade, or upgrade perdure.'
    )

from agent_framework._workflows import _const, _edge, _edge_runner, _runner_context, _state, _typing_utils  # noqa: E402

State = _state.State
MessageType = _runner_context.MessageType
RunnerContext = _runner_context.InProcRunnerContext
is_instance_of = _typing_utils.is_instance_of
internal_source = _const.INTERNAL_SOURCE_ID
create_edge_runner = _edge_runner.create_edge_runner
FanInEdgeRunner = _edge_runner.FanInEdgeRunner

_RAW_KEYS: Final[Mapping[str, str]] = {
    "function_invocation_kwargs": _const.RAW_FUNCTION_INVOCATION_KWARGS_KEY,
    "client_kwargs": _const.RAW_CLIENT_KWARGS_KEY,
}

_KINDS: Final[Sequence[tuple[type[_edge.EdgeGroup], shape.GroupKind]]] = (
    (_edge.InternalEdgeGroup, "internal"),
    (_edge.SwitchCaseEdgeGroup, "switch"),
    (_edge.FanOutEdgeGroup, "fan-out"),
    (_edge.FanInEdgeGroup, "fan-in"),
    (_edge.SingleEdgeGroup, "single"),
)


def shape_of(workflow: Workflow, name: str) -> shape.Shape:
    """Read a workflow's graph.

    Raises:
        UsageError: If it has a kind of edge group that perdure does not know.
    """
    return shape.Shape(
        workflow=name,
        start=workflow.start_executor_id,
        executors=tuple(workflow.executors),
        types=tuple(type(executor).__name__ for executor in workflow.executors.values()),
        groups=tuple(_group(group) for group in workflow.edge_groups),
        max_iterations=workflow.max_iterations,
        signature=workflow.graph_signature_hash,
        inside={
            # A name that the builder makes up is another one in each process: no part of what the graph is.
            executor.id: shape_of(wrapped, executor.id if naming.is_automatic(wrapped.name) else wrapped.name)
            for executor in workflow.executors.values()
            if (wrapped := inner(executor)) is not None
        },
    )


def alone(executor: Executor, name: str, description: str | None, signature: str) -> Workflow:
    """Make the workflow of one executor that sends messages to itself, as often as it likes.

    Args:
        executor: The executor.
        name: The workflow's name.
        description: What it is for.
        signature: What tells one definition of the executor from another.
    """
    edges: list[_edge.EdgeGroup] = [
        _edge.InternalEdgeGroup(executor.id),
        _edge.SingleEdgeGroup(executor.id, executor.id),
    ]
    made = Workflow(
        edges, {executor.id: executor}, executor, InProcRunnerContext(), name, description, max_iterations=ENDLESS
    )
    made.graph_signature_hash = signature
    return made


def designation(workflow: Workflow) -> Any:
    """Give the rule that says which executors' outputs are outputs, intermediate or hidden."""
    return workflow._output_designation  # pyright: ignore[reportPrivateUsage]


def message(
    data: Any,
    source: str,
    traces: Sequence[tuple[dict[str, str], str]] = (),
) -> WorkflowMessage:
    """Wrap a value as the framework's edges and executors take it."""
    return WorkflowMessage(
        data=data,
        source_id=source,
        trace_contexts=[context for context, _ in traces] or None,
        source_span_ids=[span for _, span in traces] or None,
    )


def answer(data: Any, source: str, request_id: str, executor: str, asked: Any, response_type: Any) -> WorkflowMessage:
    """Wrap an answer as the framework's response handlers take it."""
    event = WorkflowEvent.request_info(request_id, executor, asked, response_type)
    return WorkflowMessage(
        data=data, source_id=source, target_id=executor, type=MessageType.RESPONSE, original_request_info_event=event
    )


def runner_context(ctx: Any) -> Any:
    """Give what stands behind a handler's context: perdure's own where it is hosted; None if it is no context."""
    return getattr(ctx, "_runner_context", None)


def inner(executor: Executor) -> Workflow | None:
    """Give the workflow that an executor wraps; None if it wraps none."""
    return executor.workflow if isinstance(executor, WorkflowExecutor) else None


def nested(executor: Executor, path: str = "") -> Iterator[tuple[str, Executor]]:
    """Give the executors inside an executor, all levels down, each with its place below it."""
    wrapped = inner(executor)
    if wrapped is not None:
        for name, found in wrapped.executors.items():
            below = naming.place(path, name)
            yield below, found
            yield from nested(found, below)


def places(workflow: Workflow) -> dict[str, Executor]:
    """Give every executor of a workflow, those of sub-workflows too, by its place."""
    return {
        place: found
        for executor_id, executor in workflow.executors.items()
        for place, found in ((executor_id, executor), *nested(executor, executor_id))
    }


def wraps(executor: Executor) -> bool:
    """Say whether an executor wraps a workflow."""
    return isinstance(executor, WorkflowExecutor)


def request_hop(executor: str) -> str:
    """Give what an executor that wraps a workflow puts before the ids of requests that come from inside."""
    return f"{executor}~0~"


@contextmanager
def standing_in(executor: Executor, workflow: Any) -> Iterator[None]:
    """Put something in the place of the workflow that an executor wraps, for as long as this lasts."""
    wrapper = cast("WorkflowExecutor", executor)
    wrapped, wrapper.workflow = wrapper.workflow, workflow
    try:
        yield
    finally:
        wrapper.workflow = wrapped


def with_runner(workflow: Workflow, runner: Any) -> Workflow:
    """Give a workflow whose supersteps another runner runs; all else of it is the framework's own."""
    other = copy.copy(workflow)
    other._runner = runner  # pyright: ignore[reportPrivateUsage]
    other._runner_context = runner.context  # pyright: ignore[reportPrivateUsage]
    other._active_run = None  # pyright: ignore[reportPrivateUsage]
    return other


async def withdraw(executor: Executor, request_id: str, state: Any, ctx: Any) -> None:
    """Tell an executor that a request of its own was withdrawn."""
    given = request_id.removeprefix(request_hop(executor.id)) if wraps(executor) else request_id
    context = executor._create_context_for_handler([internal_source(executor.id)], state, ctx)  # pyright: ignore[reportPrivateUsage]
    await executor._cancel_pending_request(given, context)  # pyright: ignore[reportPrivateUsage]


class Asking(Protocol):
    """Where hosted contexts stand: the step."""

    host_metadata: dict[str, Any]

    def next_request_id(self) -> str:
        """Make the id of a request."""
        ...


class HostedContext(WorkflowContext[Any, Any]):
    """The context of a hosted executor: requests get ids that the same step always makes again.

    Args:
        step: Where it stands.
        hops: What comes before the ids of its requests on the run on top.
    """

    def __init__(self, step: Asking, hops: str, executor: Executor, *arguments: Any, **named: Any) -> None:
        self._hop = request_hop(executor.id) if wraps(executor) else ""
        asked = named.get("request_id")
        if self._hop and asked is not None:
            named["request_id"] = asked.removeprefix(self._hop)
        super().__init__(executor, *arguments, **named)
        self._step = step
        self._hops = hops

    @property
    def host_metadata(self) -> dict[str, Any]:
        """What the executor may learn of its host, and what comes before the ids of its requests."""
        return {**self._step.host_metadata, "request_path_prefix": self._hops}

    async def request_info(self, request_data: object, response_type: Any, *, request_id: str | None = None) -> None:
        """Request information from outside of the workflow."""
        given = request_id or self._step.next_request_id()
        await super().request_info(request_data, response_type, request_id=f"{self._hop}{given}")


@contextmanager
def hosted(executor: Executor, step: Asking, hops: str) -> Iterator[None]:
    """Give an executor hosted contexts for as long as this lasts."""

    def create(*arguments: Any, **named: Any) -> HostedContext:
        return HostedContext(step, hops, executor, *arguments, **named)

    vars(executor)["_create_context_for_handler"] = create
    try:
        yield
    finally:
        del vars(executor)["_create_context_for_handler"]


def is_custom_state(executor: Executor) -> bool:
    """Say whether an executor saves and restores its own state."""
    # What a wrapper saves by itself is the workflow inside, whose state the run holds.
    return type(executor).on_checkpoint_save not in (Executor.on_checkpoint_save, WorkflowExecutor.on_checkpoint_save)


def own_attributes(executor: Executor) -> dict[str, Any]:
    """Give the attributes of an executor that are not the framework's."""
    known = EXECUTOR_ATTRIBUTES | WRAPPER_ATTRIBUTES if wraps(executor) else EXECUTOR_ATTRIBUTES
    return {name: value for name, value in vars(executor).items() if name not in known}


def run_kwargs(workflow: Workflow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the shared state of a run holds for the keyword arguments that it is given.

    Args:
        workflow: The workflow; keys that name its executors are for those.
        given: ``function_invocation_kwargs`` and ``client_kwargs``, each None if not given.

    Raises:
        ValueError: If it is not clear which executor is meant.
    """
    legacy: dict[str, Any] = {}
    resolved: dict[str, Any] = {}
    routed: dict[str, list[str]] = {}
    for name, kwargs in given.items():
        if kwargs is None:
            continue
        resolved[name], keys = workflow._resolve_invocation_kwargs(kwargs, name)  # pyright: ignore[reportPrivateUsage]
        routed[name] = sorted(keys)
        legacy[name] = workflow._to_legacy_invocation_kwargs(resolved[name])  # pyright: ignore[reportPrivateUsage]
        explicit = isinstance(kwargs, WorkflowInvocationKwargs)
        if explicit or keys or any(isinstance(value, Mapping) for value in kwargs.values()):
            # What is inside a sub-workflow may be meant too: it looks at them as they were given.
            legacy[_RAW_KEYS[name]] = kwargs
    if not resolved:
        return {}
    return {
        _const.WORKFLOW_RUN_KWARGS_KEY: legacy,
        _const.RESOLVED_WORKFLOW_RUN_KWARGS_KEY: resolved,
        _const.ROUTED_WORKFLOW_RUN_KWARGS_KEY: routed,
    }


def response_types(executor: Executor) -> list[tuple[Any, Any]]:
    """Give the request and response types that an executor has handlers for."""
    return list(getattr(executor, "_response_handlers", {}))


def event_fields(event: WorkflowEvent[Any]) -> dict[str, Any]:
    """Give the plain fields of an event that go with its type."""
    fields = {"executor": event.executor_id, "iteration": event.iteration}
    return {name: value for name, value in fields.items() if value is not None}


def _group(group: _edge.EdgeGroup) -> shape.Group:
    for kind, name in _KINDS:
        if isinstance(group, kind):
            return shape.Group(
                kind=name,
                sources=tuple(dict.fromkeys(edge.source_id for edge in group.edges)),
                targets=tuple(dict.fromkeys(edge.target_id for edge in group.edges)),
                conditions=tuple(edge.condition_name or "" for edge in group.edges),
            )
    raise errors.UsageError(
        f"The edge group {type(group).__name__} is of a kind that perdure does not know.",
        "Use the framework's own edge groups, or upgrade perdure.",
    )
