"""Entities: their states in the hub, one operation at a time each, none of them twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from perdure.engine import engine
from perdure.hosts.local.functions import agents, declared, invocation, steps
from perdure.workflow import protocol

ACTIVITY = "@entity"
SIGNAL = "@signal"
ANSWERS_KEPT = 64
"""Answers that an entity remembers: a message whose answer was lost in a crash comes again and gets the same."""

PAGE = 500

log = logging.getLogger("perdure.functions")


class Entity(msgspec.Struct, frozen=True, array_like=True):
    """An entity as it is kept.

    Attributes:
        state: Its state, JSON text.
        exists: Whether it does: one that was deleted is remembered for what it has answered.
        answers: The ids of the last messages and what they were answered, oldest first.
    """

    state: str | None = None
    exists: bool = False
    answers: tuple[tuple[str, str], ...] = ()


class Listed(msgspec.Struct, frozen=True):
    """An entity in a list; ``updated`` is in seconds since the epoch."""

    name: str
    key: str
    updated: float
    entity: Entity


class _Queue:
    """Those who want an entity, the one who has it among them."""

    __slots__ = ("length", "lock")

    def __init__(self) -> None:
        self.length = 0
        self.lock = asyncio.Lock()


class Entities:
    """The entities of an app; touched on the engine's loop only.

    Args:
        functions: The functions of the app.
        invoker: What calls them.

    Attributes:
        engine: The engine; set before it starts.
        agents: The entities that are agents; set likewise.
    """

    def __init__(self, functions: declared.Declared, invoker: invocation.Invoker) -> None:
        self._functions = functions
        self._invoker = invoker
        self._queues: dict[tuple[str, str], _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.engine: engine.Engine
        self.agents: agents.Agents

    async def __call__(self, instance_id: str, key: str, call: Any) -> protocol.Outcome:
        """Take a message, as an activity of whoever sent it."""
        text = await self.take(call)
        return protocol.Outcome(text, text.encode())

    async def take(self, message: steps.Step) -> str:
        """Run an operation after those that came before it, and give the answer as the SDK reads it.

        Raises:
            LookupError: If there is no such entity function.
            Refused: If it is an agent, and that fails.
            HubError: If the new state could not be made durable.
        """
        name, key = steps.entity_of(message.name)
        if name in self.agents:
            return await self.agents.take(name, key, message)
        self._functions.known("entity", name)
        function = self._functions.entity[name.casefold()]
        async with self._alone(name, key):
            entity = self._kept(name, key) or Entity()
            for request, answer in entity.answers:
                if request == message.request:
                    return answer
            entity, answer = await self._run(function, name, key, entity, message)
            kept = (*entity.answers, (message.request, answer))[-ANSWERS_KEPT:]
            entity = msgspec.structs.replace(entity, answers=kept)
            # The state and the answer in one record: whoever asks again after a crash finds both or neither.
            await self.engine.put_entity(name, key, msgspec.msgpack.encode(entity))
        return answer

    def get(self, name: str, key: str) -> Entity | None:
        """Give an entity, or None if there is none."""
        found = self._kept(name.casefold(), key) if name.casefold() in self._functions.entity else None
        return found if found is not None and found.exists else None

    def list(self, name: str) -> list[Listed]:
        """Give the entities of a name, or all of the app's if it is empty."""
        # The hub keeps other things in the same table, under names of its own.
        names = [each for each in self._functions.entity if name.casefold() in ("", each)]
        found: list[Listed] = []
        for each in names:
            after = ""
            while page := self.engine.entities(each, after, PAGE):
                for key, updated in page:
                    entity = self.get(each, key)
                    if entity is not None:
                        found.append(Listed(each, key, updated, entity))
                after = page[-1][0]
        return found

    async def signal(self, name: str, key: str, operation: str, value: Any, *, given: bool) -> None:
        """Send a message from outside; when this returns, it will be taken.

        Raises:
            LookupError: If there is no such entity function.
            HubError: If it could not be made durable.
        """
        name = self._functions.known("entity", name).lower()
        request = uuid.uuid4().hex
        text = json.dumps(value) if given else None
        message = steps.Step(0, "signal", f"@{name}@{key}", text, operation=operation, request=request)
        instance_id = f"@signal@{request}"
        await self.engine.begin(SIGNAL, instance_id, msgspec.msgpack.encode(message))
        self._watch(instance_id)

    async def sweep(self) -> None:
        """Forget the messages of an earlier life that were taken, and watch the others."""
        cursor, more = None, True
        while more:
            views, cursor = self.engine.query(names=[SIGNAL], cursor=cursor, limit=PAGE)
            for view in views:
                self._watch(view.id)
            more = cursor is not None

    async def close(self) -> None:
        """Stop watching."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _kept(self, name: str, key: str) -> Entity | None:
        found = self.engine.entity(name, key)
        return None if found is None else msgspec.msgpack.decode(found, type=Entity)

    def _watch(self, instance_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._forget(instance_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forget(self, instance_id: str) -> None:
        view = await self.engine.wait(instance_id, float("inf"))
        if view is not None and view.ended:
            await self.engine.purge(instance_id)

    @contextlib.asynccontextmanager
    async def _alone(self, name: str, key: str) -> AsyncIterator[None]:
        """Hold an entity; those who wait for it get it in the order in which they came."""
        queue = self._queues.setdefault((name, key), _Queue())
        queue.length += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.length -= 1
            # Those who wait are counted: a lock that is free for a moment is still theirs.
            if not queue.length:
                del self._queues[name, key]

    async def _run(
        self, function: declared.Function, name: str, key: str, entity: Entity, message: steps.Step
    ) -> tuple[Entity, str]:
        batch = [{"name": message.operation, "input": message.input, "isSignal": message.kind == "signal"}]
        body = {
            "self": {"name": name, "key": key},
            "exists": entity.exists,
            "state": entity.state if entity.exists else None,
            "batch": batch,
        }
        response = json.loads(await self._invoker.handle(function.call, json.dumps(body)))
        result = response["results"][0]
        if result["isError"]:
            log.error(
                "Entity %r failed in operation %r: %s", message.name, message.operation, json.loads(result["result"])
            )
        answer = {"result": result["result"], **({"exceptionType": "Exception"} if result["isError"] else {})}
        state = response["entityState"] if response["entityExists"] else None
        return Entity(state, response["entityExists"], entity.answers), json.dumps(answer)


class SignalOrchestrator:
    """A message from outside on its way to its entity."""

    name = SIGNAL

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        """Deliver it."""
        host.activity("deliver", ACTIVITY, msgspec.msgpack.decode(call, type=steps.Step))
        yield
        return protocol.Ended(b"")

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        """Deliver it: nothing was kept."""
        return self.begin(host, call)

    def decode(self, data: bytes) -> Any:
        """Give a recorded answer."""
        return data
