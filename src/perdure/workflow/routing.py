"""Where a message goes: through the framework's own edges, against targets that only say what they would take."""

from __future__ import annotations

from typing import Any, cast

from agent_framework import Executor, Workflow, WorkflowMessage

from perdure.workflow import graph


class Routed:
    """What became of one message in one edge group."""

    __slots__ = ("buffered", "refused", "targets")

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.buffered = False
        self.refused: list[str] = []


class _Probe(WorkflowMessage):
    """A message that remembers which targets said that they cannot handle it."""

    refused: set[str]


class _Target:
    """Stands in for an executor: says what it can handle, and records what is delivered to it."""

    def __init__(self, executor: Executor) -> None:
        self.id = executor.id
        self._executor = executor

    def can_handle(self, sent: WorkflowMessage) -> bool:
        able = self._executor.can_handle(sent)
        if not able and isinstance(sent, _Probe):
            sent.refused.add(self.id)
        return able

    async def execute(self, _message: Any, _sources: list[str], _state: Any, recorder: Routed, **_: Any) -> None:
        recorder.targets.append(self.id)


class Router:
    """Sends messages through a workflow's own edge groups, and tells where they would go.

    Conditions and selections run here, once a message; no executor does.
    """

    def __init__(self, workflow: Workflow) -> None:
        targets = cast("dict[str, Executor]", {key: _Target(item) for key, item in workflow.executors.items()})
        self._runners = [graph.create_edge_runner(group, targets) for group in workflow.edge_groups]
        self._groups = workflow.edge_groups
        self._state = graph.State()

    async def route(self, group: int, sent: WorkflowMessage) -> Routed:
        """Route one message through one edge group.

        Raises:
            Exception: Whatever a condition or selection of the user's raises.
        """
        runner = self._runners[group]
        routed = Routed()
        probe = _Probe(
            sent.data,
            sent.source_id,
            sent.target_id,
            sent.type,
            sent.trace_contexts,
            sent.source_span_ids,
        )
        probe.refused = set()
        await runner.send_message(probe, self._state, cast("Any", routed))
        if isinstance(runner, graph.FanInEdgeRunner):
            # The buffer lives in the run, not here: what this message put into it is only looked at.
            routed.buffered = runner.snapshot_state() is not None or bool(routed.targets)
            runner.restore_state(None)
            routed.targets.clear()
            target = self._groups[group].edges[0].target_id
            if not routed.buffered and sent.target_id in (None, target):
                routed.refused.append(target)
        elif probe.refused and (not routed.targets or not self._selects(group)):
            routed.refused.extend(target for target in self._targets(group) if target in probe.refused)
            if sent.target_id is not None:
                routed.refused = [target for target in routed.refused if target == sent.target_id]
        return routed

    def _selects(self, group: int) -> bool:
        return getattr(self._groups[group], "selection_func", None) is not None

    def _targets(self, group: int) -> list[str]:
        return [edge.target_id for edge in self._groups[group].edges]
