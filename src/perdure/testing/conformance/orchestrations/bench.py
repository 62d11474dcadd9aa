"""What the suite of orchestrations is written with: orchestrators out of functions, and a host to run them on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from perdure.payloads import owners, refs, store
from perdure.workflow import protocol

PATIENCE_SECONDS = 20.0

Program = Callable[[protocol.Host, bytes], protocol.Steps]
Resumed = Callable[[protocol.Host, bytes, bytes], protocol.Steps]
Work = Callable[[Any], Awaitable[Any]]


class Backend(Protocol):
    """A running host of orchestrations, as the suite drives it."""

    @property
    def payloads(self) -> store.PayloadStore:
        """Its payload store."""
        ...

    async def owner(self, instance_id: str) -> str:
        """Give who owns the payloads of an orchestration: itself, where no other can ever have its id."""
        ...

    async def begin(self, name: str, instance_id: str, call: bytes) -> bool:
        """Start an orchestration unless the id exists; says whether it is new. Accepted when it returns."""
        ...

    async def raise_event(self, instance_id: str, name: str, data: bytes) -> bool:
        """Send an event, accepted when it returns; False if the orchestration is unknown or has ended."""
        ...

    async def wait(self, instance_id: str, seconds: float) -> protocol.Ended | None:
        """Give how an orchestration ended; None if it has not when the time is over."""
        ...

    async def events(self, instance_id: str) -> Sequence[tuple[int, bytes]]:
        """Give the ids and data of the events it emitted, as far as they are recorded."""
        ...

    async def status(self, instance_id: str) -> bytes | None:
        """Give its custom status as recorded."""
        ...

    async def stop(self) -> None:
        """Let go of all orchestrations and activities, in the harshest way the back end can."""
        ...

    async def start(self) -> None:
        """Go on after ``stop`` from what was recorded, as a new process does."""
        ...

    async def close(self) -> None:
        """Let go for good."""
        ...


Open = Callable[[Mapping[str, protocol.Orchestrator], Mapping[str, protocol.Activity]], Awaitable[Backend]]
"""Starts a back end with these orchestrators and activities."""


def encode(value: Any) -> bytes:
    """Encode what an orchestration or an activity gives."""
    return msgspec.msgpack.encode(value)


def decode(data: bytes) -> Any:
    """Give back what was encoded."""
    return msgspec.msgpack.decode(data)


class Scripted:
    """An orchestrator out of functions."""

    def __init__(self, name: str, program: Program, resumed: Resumed | None) -> None:
        self.name = name
        self._program = program
        self._resumed = resumed

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        """Run from the start."""
        return self._program(host, call)

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        """Run from a kept state."""
        assert self._resumed is not None, f"{self.name} offered no state and is resumed from one"
        return self._resumed(host, call, state)

    def decode(self, data: bytes) -> Any:
        """Decode a result."""
        return decode(data)


class Gate:
    """Work that says when it was entered and waits to be let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, call: Any) -> Any:
        """Wait, and give the call back."""
        self.entered.set()
        await self.open.wait()
        return call

    async def enter(self) -> None:
        """Wait until it is entered, since the last time that was waited for."""
        await asyncio.wait_for(self.entered.wait(), PATIENCE_SECONDS)
        self.entered.clear()


class Notes(list[Any]):
    """What a program saw, perhaps on another thread, for the test that waits for it. Make it on the test's loop."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def note(self, item: Any) -> None:
        """Add something."""
        self.append(item)
        self._loop.call_soon_threadsafe(self._news.set)

    async def upto(self, count: int) -> None:
        """Wait until so much was seen."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self) < count:
                self._news.clear()
                await self._news.wait()


class Bench:
    """A back end, opened with the first ``begin``, and what a test has it run.

    Args:
        open_backend: Starts the back end.

    Attributes:
        ran: Instance id and key of every activity that was started, in order.
    """

    def __init__(self, open_backend: Open) -> None:
        self._open = open_backend
        self._backend: Backend | None = None
        self._orchestrators: dict[str, protocol.Orchestrator] = {}
        self._activities: dict[str, protocol.Activity] = {}
        self.ran: list[tuple[str, str]] = []
        self.activity("same", _same)

    @property
    def backend(self) -> Backend:
        """The back end; there is one after the first ``begin``."""
        assert self._backend is not None, "begin something first"
        return self._backend

    def program(self, name: str, program: Program, resumed: Resumed | None = None) -> None:
        """Add an orchestrator, before the first ``begin``."""
        self._orchestrators[name] = Scripted(name, program, resumed)

    def activity(
        self, name: str, work: Work, *, blobs: Callable[[Any], Sequence[refs.Blob]] | None = None, owner: str = ""
    ) -> None:
        """Add an activity, before the first ``begin``; ``same``, which gives back its call, is there."""

        async def run(instance_id: str, key: str, call: Any) -> protocol.Outcome:
            self.ran.append((owners.run_of(instance_id), key))
            value = await work(call)
            return protocol.Outcome(value, encode(value), blobs(value) if blobs is not None else (), owner)

        self._activities[name] = run

    def gate(self, name: str = "gate") -> Gate:
        """Add an activity that waits to be let go."""
        gate = Gate()
        self.activity(name, gate)
        return gate

    async def begin(self, name: str, instance_id: str, call: bytes = b"") -> bool:
        """Start an orchestration; says whether it is new."""
        if self._backend is None:
            self._backend = await self._open(self._orchestrators, self._activities)
        return await self._backend.begin(name, instance_id, call)

    async def send(self, instance_id: str, name: str = "go", data: bytes = b"") -> None:
        """Send an event, which must be accepted."""
        assert await self.backend.raise_event(instance_id, name, data), f"{instance_id} took no event"

    async def ended(self, instance_id: str) -> protocol.Ended:
        """Wait for an orchestration's end."""
        ended = await self.backend.wait(instance_id, PATIENCE_SECONDS)
        assert ended is not None, f"{instance_id} has not ended"
        return ended

    async def output(self, instance_id: str) -> Any:
        """Wait for an orchestration to complete and give its output."""
        ended = await self.ended(instance_id)
        assert ended.failure is None, ended.failure
        assert ended.output is not None, f"{instance_id} has no output"
        return decode(ended.output)

    async def failure(self, instance_id: str) -> protocol.Failure:
        """Wait for an orchestration to fail and give the reason."""
        ended = await self.ended(instance_id)
        assert ended.failure is not None, f"{instance_id} did not fail"
        assert ended.output is None
        return ended.failure

    async def emitted(self, instance_id: str) -> list[bytes]:
        """Give the events so far, whose ids must have no gap."""
        events = await self.backend.events(instance_id)
        assert [number for number, _ in events] == list(range(1, len(events) + 1))
        return [data for _, data in events]

    async def rebuild(self) -> None:
        """Let go of everything and go on from what was recorded."""
        await self.backend.stop()
        await self.backend.start()

    async def close(self) -> None:
        """Let go for good."""
        if self._backend is not None:
            await self._backend.close()


async def _same(call: Any) -> Any:
    return call
