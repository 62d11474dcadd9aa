"""The same programs on the embedded engine, stopped in the middle and started again."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.differential import programs
from tests.workflow import support

from perdure import testing
from perdure.hosts.local import host as local


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


@pytest.mark.parametrize("generate", [programs.generate, programs.generate_nested])
@pytest.mark.parametrize("crash", [False, True])
async def test_local_host_gives_what_the_program_gives_in_process(
    tmp_path: pathlib.Path, crash: bool, generate: Callable[[int], programs.Program]
) -> None:
    """For generated race-free programs, outputs and final state on the local host equal those in process."""
    told = 0
    for seed in range(200, 230):
        program = generate(seed)
        log = programs.Log()
        expected = await support.in_process(programs.build(program, log), program.value, on_superstep=log.next_step)
        if log.raced() or log.several_sources() or (program.joins() and log.overtook()):
            continue
        if expected.failure is not None and sum(op.kind == "raise" for node in program.nodes for op in node.ops) > 1:
            continue
        told += 1
        middle = Middle((log.given() + 1) // 2)
        app = support.app_of(programs.build(program, middle))
        async with testing.LocalHost(app, hub=tmp_path / str(seed)) as host:
            run = await host.start("program", program.value)
            if crash:
                await middle.reached.wait()
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
    assert told >= 10


def _shown(output: object) -> str:
    return repr(getattr(output, "text", output))
