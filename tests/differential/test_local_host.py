"""The same programs on the embedded engine, stopped in the middle and started again."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
from tests.differential import hosts, programs

from perdure import testing


@pytest.mark.parametrize("generate", [programs.generate, programs.generate_nested])
@pytest.mark.parametrize("crash", [False, True])
async def test_local_host_gives_what_the_program_gives_in_process(
    tmp_path: pathlib.Path, crash: bool, generate: Callable[[int], programs.Program]
) -> None:
    """For generated race-free programs, outputs and final state on the local host equal those in process."""
    told = await hosts.compare(
        lambda app, seed: testing.LocalHost(app, hub=tmp_path / str(seed)), generate, range(200, 230), crash=crash
    )
    assert told >= 10
