"""The graph as data: what the fold needs to know of a workflow, and what a run keeps of it."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Final, Literal

import msgspec

from perdure.payloads import refs

GroupKind = Literal["single", "fan-out", "switch", "fan-in", "internal"]


class Group(msgspec.Struct, frozen=True, array_like=True):
    """An edge group.

    Attributes:
        kind: How it delivers; only ``fan-in`` waits for all of its sources.
        sources: Executor ids, in the order in which a fan-in joins them.
        targets: Executor ids.
        conditions: Name of each edge's condition, in the order of the edges; empty for none.
    """

    kind: GroupKind
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    conditions: tuple[str, ...] = ()


class Shape(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """A workflow's graph.

    Attributes:
        workflow: The hosted name.
        start: Id of the start executor.
        executors: Ids in definition order.
        types: The class name of each executor.
        groups: Edge groups in definition order.
        max_iterations: Supersteps after which a run that has messages left fails.
        signature: The framework's own fingerprint of the graph.
        inside: The graphs of sub-workflows, by the id of the executor that wraps them.
    """

    workflow: str
    start: str
    executors: tuple[str, ...]
    types: tuple[str, ...]
    groups: tuple[Group, ...]
    max_iterations: int
    signature: str
    inside: dict[str, Shape] = {}

    @cached_property
    def by_source(self) -> dict[str, tuple[int, ...]]:
        """Indexes of the groups that each executor sends through, in definition order."""
        found: dict[str, list[int]] = {}
        for index, group in enumerate(self.groups):
            for source in group.sources:
                found.setdefault(source, []).append(index)
        return {source: tuple(indexes) for source, indexes in found.items()}

    def internal_source(self, executor: str) -> str:
        """Give the sender under which the world outside reaches an executor."""
        for group in self.groups:
            if group.kind == "internal" and group.targets == (executor,):
                return group.sources[0]
        return executor

    @cached_property
    def encoded(self) -> bytes:
        """The shape as a run's input carries it."""
        return msgspec.msgpack.encode(self)

    @cached_property
    def definition(self) -> bytes:
        """Digest that tells one definition of the workflow from another."""
        return refs.digest(self.encoded)


@lru_cache(maxsize=256)
def decode(data: bytes) -> Shape:
    """Read a shape back."""
    return _decoder.decode(data)


_decoder: Final = msgspec.msgpack.Decoder(Shape)
