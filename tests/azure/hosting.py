"""An app's functions as the Functions host runs them, in the test's process and used as the local host is.

HTTP requests come in through the triggers, go to the official client, from there to the management API and to entities;
payloads and records are in Blob Storage's emulator. The local host plays the Functions host and the Durable extension.
"""

from __future__ import annotations

import asyncio
import pathlib
import tempfile
from typing import Any, Self

import azure.functions as func
import pytest

from perdure import AgentFunctionApp, loops
from perdure.hosts.azure import functions, storage
from perdure.hosts.local import host
from perdure.hosts.local.functions import sdk

Storage = storage.Storage


class FunctionsHost:
    """Hosts the functions of an app.

    Args:
        app: The app.
        port: The port to listen on, 0 for a free one.
    """

    def __init__(self, app: AgentFunctionApp, *, port: int = 0) -> None:
        self.app = app
        self.url = ""
        self._port = port
        self._folder = tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True)
        self._playing: host.LocalHost | None = None
        self._stores: list[storage.Storage] = []

    async def __aenter__(self) -> Self:
        # User code on the test's loop, as on the local host: tests wait for what happens in it.
        here = loops.Loop("perdure-executors", asyncio.get_running_loop())
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(functions, "executors", lambda: here)
            patched.setattr(storage, "Storage", self._opened)
            await asyncio.to_thread(self.app.get_functions)
        served = AgentFunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS, enable_health_check=False)
        sdk.adopt(self.app, served)
        playing = host.LocalHost(served, hub=pathlib.Path(self._folder.name), port=self._port)
        self._playing = await playing.__aenter__()
        self.url = playing.url or ""
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._playing is not None:
            await self._playing.__aexit__()
        for kept in self._stores:
            await kept.close()
        self._folder.cleanup()

    def _opened(self, *given: Any) -> storage.Storage:
        """Make a store, to be closed in the end: the process of a real worker just ends."""
        self._stores.append(Storage(*given))
        return self._stores[-1]

    async def crash(self) -> None:
        assert self._playing is not None
        await self._playing.crash()

    async def restart(self) -> None:
        assert self._playing is not None
        await self._playing.restart()
        self.url = self._playing.url or ""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"A test asks for {name!r}, which the Functions host does not have.")
