"""A line to the storage emulator that tests may break, and a container at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.azurite import emulator

from perdure.payloads.stores import blob_container


@pytest.fixture
async def line(azurite: emulator.Azurite) -> AsyncIterator[emulator.Line]:
    async with emulator.Line(azurite.port).open() as found:
        yield found


@pytest.fixture
async def container(azurite: emulator.Azurite, line: emulator.Line) -> AsyncIterator[blob_container.Container]:
    found = azurite.container(port=line.port)
    await found.open()
    line.requests.clear()
    yield found
    await found.close()
