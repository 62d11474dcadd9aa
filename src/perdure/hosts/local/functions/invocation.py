"""Calling a user's function: on the loop if it is asynchronous, in a thread if it is not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import os
import pathlib
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import azure.functions as func

from perdure.hosts.local.functions import declared

THREADS_SETTING = "PYTHON_THREADPOOL_THREAD_COUNT"


class Invoker:
    """Calls functions.

    Args:
        client: Gives what a parameter for a durable client is given, once there is an address to talk to.
        folder: The folder of the app.
    """

    def __init__(self, client: Callable[[], Awaitable[str]], folder: pathlib.Path) -> None:
        self._client = client
        self._folder = folder
        count = os.environ.get(THREADS_SETTING, "")
        threads = int(count) if count.isdigit() and int(count) > 0 else None
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="perdure-function")
        self._tasks: set[asyncio.Task[Any]] = set()

    async def call(self, function: declared.Function, value: Any) -> Any:
        """Call a function with what triggered it.

        It goes on to its end if the caller leaves, as on Azure.
        """
        task = asyncio.get_running_loop().create_task(self._call(function, value))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def handle(self, handle: Callable[[str], Any], body: str) -> str:
        """Call a handler of an entity: on the loop if it is asynchronous, as the SDK's own are not."""
        if inspect.iscoroutinefunction(handle):
            given: str = await handle(body)
            return given
        answer: str = await self._threaded(functools.partial(handle, body))
        return answer

    async def close(self) -> None:
        """Cancel what runs on the loop; threads cannot be stopped and are left to end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: declared.Function, value: Any) -> Any:
        arguments = {function.parameter: value}
        for name in function.clients:
            arguments[name] = await self._client()
        if function.takes_context:
            arguments["context"] = Context(function.name, self._folder)
        if inspect.iscoroutinefunction(function.call):
            return await function.call(**arguments)
        return await self._threaded(functools.partial(function.call, **arguments))

    async def _threaded(self, call: Callable[[], Any]) -> Any:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, call)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Looked at, so that what failed after its caller had left is not reported as never retrieved.
            task.exception()


class Context(func.Context):
    """What a function's parameter ``context`` is given.

    Args:
        name: The function's name.
        folder: The folder of the app.
    """

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self._name = name
        self._folder = folder
        self._id = str(uuid.uuid4())
        self._local = threading.local()

    @property
    def invocation_id(self) -> str:
        """An id of this invocation."""
        return self._id

    @property
    def thread_local_storage(self) -> Any:
        """Storage for the thread that the function runs in."""
        return self._local

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._name

    @property
    def function_directory(self) -> str:
        """The folder of the app."""
        return str(self._folder)

    @property
    def trace_context(self) -> Any:
        """None: this host's spans are those of OpenTelemetry's own context."""
        return None

    @property
    def retry_context(self) -> Any:
        """None: triggers are not retried here."""
        return None
