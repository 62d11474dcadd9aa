from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest_asyncio

from . import lab


@pytest_asyncio.fixture
async def bench(tmp_path: pathlib.Path) -> AsyncIterator[lab.Lab]:
    made = lab.Lab(tmp_path / "hub")
    made.program("chain", lab.chain)
    made.program("awaiting", lab.awaiting)
    made.activity("same", lab.same)
    await made.start()
    yield made
    await made.engine.close()
