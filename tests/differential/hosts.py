"""Generated programs on a host, stopped in the middle and started again, beside what they do in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from tests.differential import programs
from tests.workflow import support

from perdure.hosts.local import host as local

PATIENCE_SECONDS = 30.0


class Middle(programs.Log):
    """Says when so many deliveries were begun."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self._left = count

    def add(self, kind: str, who: str, what: Any = None) -> None:
        self._left -= kind == "given"
        if self._left <= 0:
            self.reached.set()


async def compare(
    make_host: Callable[[Any, int], Any],
    generate: Callable[[int], programs.Program],
    seeds: Iterable[int],
    *,
    crash: bool,
) -> int:
    """Run the programs of some seeds on a host; outputs and final state must equal those in process.

    Args:
        make_host: Makes the host of an app, for a seed.
        generate: Makes a program.
        seeds: Which.
        crash: Whether the host dies in the middle.

    Gives:
        How many of the programs say anything.
    """
    told = 0
    for seed in seeds:
        program = generate(seed)
        log = programs.Log()
        expected = await support.in_process(programs.build(program, log), program.value, on_superstep=log.next_step)
        if log.raced() or log.several_sources() or (program.joins() and log.overtook()):
            continue
        if expected.failure is not None and sum(op.kind == "raise" for node in program.nodes for op in node.ops) > 1:
            continue
        told += 1
        middle = Middle((log.given() + 1) // 2)
        async with make_host(support.app_of(programs.build(program, middle)), seed) as host:
            run = await host.start("program", program.value)
            if crash:
                await asyncio.wait_for(middle.reached.wait(), PATIENCE_SECONDS)
                await host.crash()
                await host.restart()
            if expected.failure is not None:
                with pytest.raises(local.RunFailed) as failed:
                    await host.outputs(run)
                failure = failed.value.failure
                assert (failure.type, failure.message) == expected.failure, program
                continue
            outputs = await host.outputs(run)
            state = {key: value for key, value in (await host.state(run)).items() if not key.startswith("_")}
        assert sorted(map(_shown, outputs)) == sorted(map(_shown, expected.outputs)), program
        assert state == expected.state, program
    return told


def _shown(output: object) -> str:
    return repr(getattr(output, "text", output))
