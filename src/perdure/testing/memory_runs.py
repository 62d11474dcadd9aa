"""The in-memory twin of a host's runs: what the routes are tested on without an engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from perdure.payloads import refs
from perdure.routes import cursors, runs
from perdure.workflow import answers, options, protocol, run_state


class Emit(Protocol):
    """What a program tells the world, and what it asks of it."""

    def __call__(self, type: str, data: dict[str, Any], /) -> None:
        """Log an event."""
        ...

    async def ask(self, data: Any, response_type: type) -> Any:
        """Ask for an answer of ``str``, ``bool``, ``int``, ``float``, ``dict`` or ``list``, and wait for it.

        Gives:
            The answer; None if the request is withdrawn.
        """
        ...


Program = Callable[[refs.Ref, Emit], Awaitable[list[Any]]]
"""What a workflow does: given its input and a way to log events, gives its outputs or raises."""


class _Live:
    """A run, its events, and who waits for news of it."""

    def __init__(self, run: runs.Run) -> None:
        self.run = run
        self.events: list[runs.Event] = []
        self.news = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self.asked: dict[str, asyncio.Future[Any]] = {}

    @property
    def over(self) -> bool:
        return self.run.status in runs.ENDED


class _Voice:
    """A program's :class:`Emit`."""

    def __init__(self, live: _Live, log: Callable[[_Live, str, dict[str, Any]], None]) -> None:
        self._live = live
        self._log = log

    def __call__(self, type: str, data: dict[str, Any], /) -> None:
        self._log(self._live, type, data)

    async def ask(self, data: Any, response_type: type) -> Any:
        live = self._live
        request_id = f"request-{len(live.asked) + 1}"
        schema = answers.reader(response_type).schema()
        names = (answers.full_name(type(data)), answers.full_name(response_type))
        asked = runs.Pending(request_id, live.run.workflow, data, *names, schema)
        future = live.asked[request_id] = asyncio.get_running_loop().create_future()
        live.run = _replace(live.run, requests=(*live.run.requests, asked))
        self("request_info", {"requestId": request_id})
        return await future


class MemoryRuns:
    """Keeps runs in memory and their programs on the running loop.

    Args:
        programs: What each workflow does, by its name.
        clock: Gives the time in seconds since the epoch.
    """

    def __init__(self, programs: Mapping[str, Program], clock: Callable[[], float] = time.time) -> None:
        self.programs = dict(programs)
        self.down: str | None = None
        self._clock = clock
        self._live: dict[str, _Live] = {}
        self._followers = 0

    @property
    def followers(self) -> int:
        """How many iterators over events are open."""
        return self._followers

    async def start(
        self,
        workflow: str,
        run_id: str,
        value: refs.Ref,
        blobs: Sequence[refs.Blob] = (),
        *,
        given: options.RunOptions = options.NONE,
        fresh: bool = False,
        wait: float = 0.0,
    ) -> tuple[runs.Run, bool]:
        """Start a run unless the id exists, and perhaps wait for its end."""
        digest = options.digest(value, given)
        run, new = self._start(workflow, run_id, value, digest)
        if wait > 0 and run.input_digest == digest:
            run = await self.wait(run_id, wait) or run
        return run, new

    def _start(self, workflow: str, run_id: str, value: refs.Ref, digest: bytes) -> tuple[runs.Run, bool]:
        if run_id in self._live:
            return self._live[run_id].run, False
        now = self._clock()
        run = runs.Run(run_id, workflow, "Running", now, now, input_digest=digest)
        live = self._live[run_id] = _Live(run)
        self._log(live, "run_started", {"workflow": workflow})
        live.task = asyncio.create_task(self._play(live, value))
        return run, True

    async def _play(self, live: _Live, value: refs.Ref) -> None:
        program = self.programs[live.run.workflow]
        try:
            outputs = await program(value, _Voice(live, self._log))
        except Exception as error:
            self._end(live, "Failed", failure=protocol.Failure(type(error).__name__, str(error)))
        else:
            self._end(live, "Completed", output=outputs)

    def _log(self, live: _Live, kind: str, data: dict[str, Any]) -> None:
        live.events.append(runs.Event(len(live.events) + 1, kind, self._clock(), data))
        self._tell(live)

    def _end(
        self,
        live: _Live,
        status: runs.Status,
        output: list[Any] | None = None,
        failure: protocol.Failure | None = None,
    ) -> None:
        live.run = _replace(live.run, status=status, updated=self._clock(), output=output, failure=failure, requests=())
        self._log(live, f"run_{status.lower()}", {})
        live.ended.set()

    def _tell(self, live: _Live) -> None:
        live.news.set()
        live.news = asyncio.Event()

    async def get(self, run_id: str) -> runs.Run | None:
        """Give a run."""
        live = self._live.get(run_id)
        return live.run if live else None

    async def wait(self, run_id: str, seconds: float) -> runs.Run | None:
        """Give a run when it has ended, or as it stands in the end."""
        live = self._live.get(run_id)
        if live is None:
            return None
        try:
            await asyncio.wait_for(live.ended.wait(), seconds)
        except TimeoutError:
            return live.run
        return live.run

    async def query(self, query: runs.Query) -> runs.Page:
        """List runs, newest first."""
        found = [live.run for live in self._live.values() if matches(live.run, query)]
        found.sort(key=_rank, reverse=True)
        if query.cursor is not None:
            last = cursors.decode(query.cursor)
            found = [run for run in found if _rank(run) < last]
        page, more = found[: query.limit], len(found) > query.limit
        return runs.Page(page, cursors.encode(_rank(page[-1])) if more else None)

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[runs.Event]:
        """Give a page of a run's events."""
        live = self._live.get(run_id)
        return live.events[after : after + limit] if live else []

    async def follow(self, run_id: str, after: int = 0, *, live: bool = False) -> AsyncIterator[runs.Event]:
        """Give a run's events as they come; programs say nothing that is not recorded."""
        found = self._live.get(run_id)
        if found is None:
            return
        self._followers += 1
        try:
            while True:
                news = found.news
                fresh = found.events[after:]
                for event in fresh:
                    yield event
                after += len(fresh)
                if not fresh and found.over:
                    return
                if not fresh:
                    await news.wait()
        finally:
            self._followers -= 1

    async def answer(self, run_id: str, request_id: str, body: bytes, content_type: str) -> runs.Accepted:
        """Answer what a program asks."""
        live = self._live.get(run_id)
        if live is None or request_id not in live.asked:
            return "unknown"
        found = [asked for asked in live.run.requests if asked.id == request_id]
        if not found:
            return "answered"
        asked = found[0]
        kinds = [name.rpartition(":")[2] for name in (asked.request_type, asked.response_type)]
        request = run_state.Request(asked.id, asked.executor, refs.Ref(b""), kinds[0], kinds[1])
        answer = _ANSWERS.read(request, lambda: asked.data, body, content_type)
        live.run = _replace(live.run, requests=tuple(item for item in live.run.requests if item is not asked))
        live.asked[request_id].set_result(answer)
        return "accepted"

    async def withdraw(self, run_id: str, request_id: str) -> runs.Accepted:
        """Withdraw what a program asks."""
        live = self._live.get(run_id)
        if live is None or request_id not in live.asked:
            return "unknown"
        left = tuple(asked for asked in live.run.requests if asked.id != request_id)
        if len(left) == len(live.run.requests):
            return "answered"
        live.run = _replace(live.run, requests=left)
        self._log(live, "request_withdrawn", {"requestId": request_id})
        live.asked[request_id].set_result(None)
        return "accepted"

    async def terminate(self, run_id: str, reason: str) -> bool:
        """End a run as Terminated."""
        live = self._live.get(run_id)
        if live is None or live.over:
            return False
        if live.task is not None:
            live.task.cancel()
        self._end(live, "Terminated", failure=protocol.Failure("Terminated", reason))
        return True

    async def rewind(self, run_id: str) -> bool:
        """Rewind nothing: programs have no steps."""
        return False

    async def purge(self, run_id: str) -> bool:
        """Forget an ended run."""
        live = self._live.get(run_id)
        if live is None or not live.over:
            return False
        del self._live[run_id]
        return True

    async def trouble(self) -> str | None:
        """Say what ``down`` says."""
        return self.down

    async def close(self) -> None:
        """End every program."""
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_ANSWERS = answers.AnswerTypes({})
_replace = msgspec.structs.replace


def matches(run: runs.Run, query: runs.Query) -> bool:
    """Say whether a query asks for a run, its cursor aside."""
    return (
        (query.workflow is None or run.workflow == query.workflow)
        and (not query.statuses or run.status in query.statuses)
        and (query.created_from is None or run.created >= query.created_from)
        and (query.created_to is None or run.created < query.created_to)
        and run.id.startswith(query.prefix)
    )


def _rank(run: runs.Run) -> tuple[float, str]:
    return run.created, run.id
