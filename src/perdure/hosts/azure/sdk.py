"""The official SDK as this host uses it: the only module here that touches what is not public in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
from azure.durable_functions.models import actions  # type: ignore[import-untyped]

Task = Any
"""A task of the SDK, which ships no types."""


def first_of(context: df.DurableOrchestrationContext, tasks: Sequence[Task], *, fresh: bool) -> Task:
    """Wait for the first of some tasks, new ones and such as were yielded before.

    The Durable extension awaits what an orchestrator yields one after another, and of a ``task_any`` it knows only the
    tasks that were new in it: one that mixes them with older ones would hold up what comes next until one of the new
    ones has completed. So it is given one more, an empty ``task_all``, which there has completed as soon as it is
    looked at. It goes on at once then, whatever completes first, and nothing of it is recorded.

    Args:
        context: The orchestration's context.
        tasks: What is waited for.
        fresh: Whether some of them are new.
    """
    waited: Task = context.task_any(list(tasks))
    if fresh:
        waited.action_repr.compound_tasks.append(actions.WhenAllAction([]))
    return waited


def failed(task: Task) -> bool:
    """Say whether a completed task has failed."""
    return isinstance(task.result, Exception)
