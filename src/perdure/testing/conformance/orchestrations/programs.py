"""Orchestrators and activities that several of the suites run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.testing.conformance.orchestrations import bench
from perdure.workflow import protocol

LONG = 100
"""Landings of a long orchestration: more than a host replays rather than keep a state."""


async def refuse(call: Any) -> Any:
    """Fail as user code does."""
    raise ValueError(f"{call} is no good")


async def same(call: Any) -> Any:
    """Give back what was given."""
    return call


def chain(host: protocol.Host, call: bytes) -> protocol.Steps:
    """Run so many activities one after another, with an event for each; give the sum of their results."""
    total = 0
    for step in range(int(call)):
        host.activity(f"s{step}", "same", step)
        total += (yield).value
        host.emit(b"%d" % step)
    return protocol.Ended(bench.encode(total))


def collecting(host: protocol.Host, call: bytes) -> protocol.Steps:
    """Wait for so many events; give their names and data."""
    got: list[Any] = []
    for _ in range(int(call)):
        landed = yield
        assert landed.kind == "event"
        got.append([landed.key, landed.value])
        host.emit(landed.value)
    return protocol.Ended(bench.encode(got))


def parent(host: protocol.Host, call: bytes) -> protocol.Steps:
    """Start the child that the call names, under this id and ``.kid``; give what landed."""
    name, _, rest = call.decode().partition(" ")
    host.child("kid", name, f"{host.instance_id}.kid", rest.encode())
    landed = yield
    if landed.kind == "failure":
        return protocol.Ended(failure=landed.value)
    return protocol.Ended(bench.encode([landed.kind, landed.key, landed.value]))


def first_landing(start: Callable[[protocol.Host], None]) -> bench.Program:
    """Make a program that starts something and gives the first landing."""

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        start(host)
        landed = yield
        value = landed.value.message if landed.kind == "failure" else landed.value
        return protocol.Ended(bench.encode([landed.kind, landed.key, value]))

    return program
