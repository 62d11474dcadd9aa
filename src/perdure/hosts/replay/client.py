"""What a client of an engine offers to whoever starts, asks after and ends orchestrations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import msgspec

from perdure.hosts.replay import wire
from perdure.payloads import owners
from perdure.routes import runs
from perdure.workflow import protocol


class State(msgspec.Struct, frozen=True, dict=True):
    """An orchestration as the engine knows it.

    Attributes:
        id: Its instance id.
        name: Its durable name.
        status: Where it is in its life.
        created: Seconds since the epoch.
        updated: Seconds since the epoch.
        output: What it returned, as a text; None if it was not asked for or there is none.
        custom_status: Its custom status, as a text.
        failure: Why the engine says that it failed, or the reason why it was terminated.
    """

    id: str
    name: str
    status: runs.Status
    created: float
    updated: float
    output: str | None = None
    custom_status: str | None = None
    failure: protocol.Failure | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in runs.ENDED

    @cached_property
    def end(self) -> wire.End | None:
        """What it left; None if it has not completed, or was not asked for its output."""
        return wire.unpack(self.output, wire.End) if self.status == "Completed" and self.output else None

    @cached_property
    def said(self) -> wire.Status | None:
        """What it says of itself; None if it has said nothing yet."""
        return None if self.custom_status is None else wire.unpack(self.custom_status, wire.Status)

    @property
    def owner(self) -> str | None:
        """Who owns what it keeps; None if it has said nothing yet."""
        said = self.said
        return None if said is None else owners.of(self.id, said.incarnation)

    @property
    def tail(self) -> tuple[tuple[wire.Page, ...], int]:
        """Its events that may not be in the log, and the id of the next one; 0 for that if it is not known."""
        end, said = self.end, self.said
        if end is not None:
            return end.pages, end.next
        return ((), 0) if said is None else (said.pages, 0 if self.ended else said.next)


class Client(Protocol):
    """A client of an engine. Each method may raise a HubError if the engine cannot be reached."""

    async def start(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration; False if there is one of this id, whether it has ended or not."""
        ...

    async def start_again(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration in the place of one that has failed; False if that has not failed."""
        ...

    async def get(self, instance_id: str) -> State | None:
        """Give an orchestration with its output; None for an unknown id."""
        ...

    async def given(self, instance_id: str) -> str | None:
        """Give what began the life of an orchestration, an encoded ``wire.Start``; None if that was none."""
        ...

    async def wait(self, instance_id: str, seconds: float) -> State | None:
        """Give an orchestration as soon as it has ended, or as it stands when the time is over."""
        ...

    async def raise_event(self, instance_id: str, name: str, data: str) -> None:
        """Send an event; one for nobody is lost."""
        ...

    async def terminate(self, instance_id: str, reason: str) -> None:
        """End an orchestration from outside."""
        ...

    async def purge(self, instance_id: str) -> None:
        """Delete an orchestration that has ended."""
        ...

    async def list(self, created_from: float, created_to: float, prefix: str) -> Sequence[State]:
        """Give the orchestrations created from one time up to another, without their outputs, in any order."""
        ...

    async def trouble(self) -> str | None:
        """Say why the engine does not answer; None where it does."""
        ...
