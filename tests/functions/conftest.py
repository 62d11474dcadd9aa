from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from perdure.engine import records
from perdure.hosts.local import host, loading, settings

APPS = pathlib.Path(__file__).parent / "apps"
PATIENCE_SECONDS = 30.0
ROOT = "/runtime/webhooks/durabletask"


class Served:
    """An app of functions on a host of the test's own loop, asked over real HTTP."""

    def __init__(self, file: pathlib.Path, folder: pathlib.Path) -> None:
        app = loading.load(file)
        self.module: Any = sys.modules[loading.MODULE_NAME]
        told = settings.Settings(folder, folder / "hub")
        self.host = host.LocalHost(app, hub=folder / "hub", settings=told, port=0)
        self.http = httpx.AsyncClient(timeout=PATIENCE_SECONDS)

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.http.request(method, f"{self.host.url}{path}", **more)

    async def start(self, name: str, value: Any = None, instance_id: str = "") -> str:
        path = f"{ROOT}/orchestrators/{name}" + (f"/{instance_id}" if instance_id else "")
        reply = await self.ask("POST", path, json=value)
        assert reply.status_code == 202, reply.text
        started: str = reply.json()["id"]
        return started

    async def status(self, instance_id: str, **query: Any) -> dict[str, Any]:
        reply = await self.ask("GET", f"{ROOT}/instances/{instance_id}", params=query)
        shown: dict[str, Any] = reply.json()
        return shown

    async def ended(self, instance_id: str) -> dict[str, Any]:
        """Wait for an instance's end, without asking again and again, and give its status over HTTP."""
        view = await self.host.engine.wait(instance_id, PATIENCE_SECONDS)
        assert view is not None and view.ended, view
        return await self.status(instance_id)

    async def output(self, name: str, value: Any = None) -> Any:
        return (await self.ended(await self.start(name, value)))["output"]

    async def crash(self) -> None:
        await self.host.crash()
        await self.host.restart()

    async def until(self, instance_id: str, holds: Callable[[list[records.Event]], bool]) -> None:
        """Wait until an instance's events so far hold what is asked."""
        seen: list[records.Event] = []
        async for event in self.host.engine.follow(instance_id):
            seen.append(event)
            if holds(seen):
                return
        raise AssertionError(f"It ended before: {seen}")


Serve = Callable[[str], Any]


@pytest.fixture
def clean_imports() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop(loading.MODULE_NAME, None)


@pytest.fixture
async def serve(tmp_path: pathlib.Path, clean_imports: None) -> AsyncIterator[Serve]:
    """Give a function that hosts an app of ``apps/``, or one given as text."""
    async with contextlib.AsyncExitStack() as undo:

        async def serving(app: str) -> Served:
            file = APPS / f"{app}.py"
            if "\n" in app:
                file = tmp_path / "function_app.py"
                file.write_text(app, encoding="utf-8")
            served = Served(file, tmp_path)
            await undo.enter_async_context(served.host)
            undo.push_async_callback(served.http.aclose)
            return served

        yield serving
