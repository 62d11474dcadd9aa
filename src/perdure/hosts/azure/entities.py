"""What sessions need of an engine's entities, and the official client as that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types

from perdure.hosts.azure import client, sdk


class Listed(NamedTuple):
    """An entity: its key, and its state."""

    key: str
    state: Any


class Entities(Protocol):
    """The entities of a task hub. Each method may raise a HubError if the engine cannot be reached."""

    async def signal(self, name: str, key: str, operation: str, value: Any) -> None:
        """Send a message; when this returns, it will be taken."""
        ...

    async def read(self, name: str, key: str) -> Any:
        """Give an entity's state, plain JSON; None if there is none."""
        ...

    async def list(self, name: str) -> Sequence[Listed]:
        """Give the entities of a name, in any order."""
        ...


class DurableEntities:
    """The official client as that.

    Args:
        inner: The client that the invocation was given.
    """

    def __init__(self, inner: df.DurableOrchestrationClient) -> None:
        self._inner = inner

    async def signal(self, name: str, key: str, operation: str, value: Any) -> None:
        """Send a message."""
        async with client.told():
            await self._inner.signal_entity(df.EntityId(name, key), operation, value)

    async def read(self, name: str, key: str) -> Any:
        """Give an entity's state."""
        async with client.told():
            found = await self._inner.read_entity_state(df.EntityId(name, key))
        return found.entity_state if found.entity_exists else None

    async def list(self, name: str) -> Sequence[Listed]:
        """Give the entities of a name."""
        async with client.told():
            return [Listed(key, state) for key, state in await sdk.list_entities(self._inner, name)]
