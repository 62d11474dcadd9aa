"""The official SDK as this host uses it: the only module here that touches what is not public in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
from azure.durable_functions.models import actions  # type: ignore[import-untyped]

ENTITIES_AT_MOST: Final = 10_000

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


class Operation(NamedTuple):
    """An operation on an entity: its name, its input as plain JSON, and whether nobody waits for its answer."""

    name: str
    input: Any
    is_signal: bool


def entity_batch(body: str) -> tuple[df.DurableEntityContext, list[Operation]]:
    """Read what the extension hands over to an entity: the entity as it was, and the operations on it."""
    context, batch = df.DurableEntityContext.from_json(body)
    return context, [Operation(item["name"], _plain(item["input"]), bool(item.get("isSignal"))) for item in batch]


def entity_answer(body: str, tell: Callable[[df.DurableEntityContext], None]) -> str:
    """Run the SDK's own handler of entities; gives what the extension takes back."""
    answer: str = df.Entity.create(tell)(body)
    return answer


def _plain(value: Any) -> Any:
    """Give an operation's input as plain JSON; the extension hands it over as text, or as text of a text."""
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return value


async def list_entities(client: df.DurableOrchestrationClient, name: str) -> list[tuple[str, Any]]:
    """Give the keys and states of the entities of a name: the SDK's client has no call for it, the extension has."""
    bindings = client._orchestration_bindings  # pyright: ignore[reportPrivateUsage]
    url = f"{bindings.rpc_base_url}entities/{quote(name, safe='')}?fetchState=true&top={ENTITIES_AT_MOST}"
    status, found = await client._get_async_request(url)  # pyright: ignore[reportPrivateUsage]
    if status != 200:
        raise RuntimeError(f"The entities could not be listed: status {status}")
    return [(item["entityId"]["key"], item.get("state")) for item in found]
