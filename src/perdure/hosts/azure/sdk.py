"""The official SDK as this host uses it: the only module here that touches what is not public in it."""

from __future__ import annotations

import collections
import functools
import importlib
import json
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
from azure.durable_functions.models import actions  # type: ignore[import-untyped]
from azure.durable_functions.models.Task import CompoundTask, TaskState  # type: ignore[import-untyped]

ENTITIES_AT_MOST: Final = 10_000

TIMES: Final = 1 << 14
"""So many times of events are known in a process: more than the longest histories have."""

Task = Any
"""A task of the SDK, which ships no types."""


class Inbox:
    """What has landed of the tasks that are out, in the order in which it landed.

    The SDK's own ``task_any`` would be made anew over all of them for each landing, in every replay.

    CONTRACT: A task that completes tells its ``parent`` by ``handle_completion``. What an orchestrator yields is given
    to the extension by its ``action_repr``, and its ``children`` are numbered then, but for those that were before.
    """

    def __init__(self) -> None:
        self._landed: collections.deque[Task] = collections.deque()
        self._fresh: list[Task] = []
        self._wait: _Wait | None = None

    def watch(self, found: Task) -> None:
        """Have a new task put here when it is done."""
        found.parent = self
        self._fresh.append(found)

    def forget(self, found: Task) -> None:
        """Take no notice of a task any more."""
        found.parent = None

    def handle_completion(self, found: Task) -> None:
        """Take in a task that is done: the SDK calls this."""
        self._landed.append(found)
        if self._wait is not None:
            self._wait.end()
            self._wait = None

    def next(self) -> Generator[Task, None, Task]:
        """Wait for what lands next, and give it."""
        while True:
            while self._landed:
                found = self._landed.popleft()
                if found.parent is self:
                    return found
            fresh = [task for task in self._fresh if task.parent is self]
            self._wait, self._fresh = _Wait(fresh), []
            yield self._wait


class _Wait(CompoundTask):  # type: ignore[misc]  # the SDK ships no types
    """What an orchestrator yields until something lands.

    The Durable extension awaits what an orchestrator yields one after another, and of a ``task_any`` it knows only the
    tasks that were new in it: one that mixes them with older ones would hold up what comes next until one of the new
    ones has completed. So it is given one more, an empty ``task_all``, which there has completed as soon as it is
    looked at. It goes on at once then, whatever completes first, and nothing of it is recorded.
    """

    def __init__(self, fresh: list[Task]) -> None:
        super().__init__([])
        self.children = fresh
        self.action_repr = actions.WhenAnyAction([task.action_repr for task in fresh] + [actions.WhenAllAction([])])
        self.state = TaskState.RUNNING

    def end(self) -> None:
        """Let the orchestrator go on."""
        self.set_value(is_error=False, value=None)


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


def remember_times() -> None:
    """Have the SDK read each time of a history once.

    It reads those of all events anew in each turn, by a parser of free text, which takes most of the turn.

    CONTRACT: ``HistoryEvent`` reads its time by the name ``dt_parse`` of its module, and leaves alone what that gives.
    """
    module: Any = importlib.import_module("azure.durable_functions.models.history.HistoryEvent")
    read = getattr(module, "dt_parse", None)
    if read is not None and not hasattr(read, "cache_info"):
        module.dt_parse = functools.lru_cache(TIMES)(read)
