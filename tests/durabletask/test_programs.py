from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.differential import hosts, programs
from tests.durabletask import hosting


@pytest.mark.parametrize("generate", [programs.generate, programs.generate_nested])
@pytest.mark.parametrize("crash", [False, True])
async def test_a_scheduler_gives_what_the_program_gives_in_process(
    crash: bool, generate: Callable[[int], programs.Program]
) -> None:
    """For generated race-free programs, outputs and final state equal those in process, also if a worker dies."""
    told = await hosts.compare(lambda app, seed: hosting.SchedulerHost(app), generate, range(200, 220), crash=crash)
    assert told >= 6
