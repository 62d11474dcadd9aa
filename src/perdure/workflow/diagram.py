"""A workflow's graph for people and their tools: nodes, edges and a Mermaid drawing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent_framework import Workflow, WorkflowViz

from perdure.workflow import graph, shape


def of(workflow: Workflow, found: shape.Shape) -> dict[str, Any]:
    """Draw a workflow.

    Args:
        workflow: The workflow.
        found: Its shape.
    """
    return {**_nodes_and_edges(workflow, found), "mermaid": WorkflowViz(workflow).to_mermaid()}


def _nodes_and_edges(workflow: Workflow, found: shape.Shape) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = []
    for (executor_id, executor), kind in zip(workflow.executors.items(), found.types, strict=True):
        node: dict[str, Any] = {"id": executor_id, "type": kind}
        if (wrapped := graph.inner(executor)) is not None:
            within = found.inside[executor_id]
            node["workflow"] = {"name": within.workflow, "start": within.start, **_nodes_and_edges(wrapped, within)}
        nodes.append(node)
    return {"nodes": nodes, "edges": list(_edges(workflow, found))}


def _edges(workflow: Workflow, found: shape.Shape) -> Iterator[dict[str, Any]]:
    for group, described in zip(workflow.edge_groups, found.groups, strict=True):
        if described.kind == "internal":
            continue
        for edge in group.edges:
            drawn = {"from": edge.source_id, "to": edge.target_id, "kind": described.kind}
            yield drawn | ({"condition": edge.condition_name} if edge.condition_name else {})
