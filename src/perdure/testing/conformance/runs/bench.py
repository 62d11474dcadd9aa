"""What the suite drives: a back end with four workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from perdure.payloads import refs
from perdure.routes import runs as store

PATIENCE_SECONDS = 10.0


class Accept(Protocol):
    """Encodes a text as the input of a workflow."""

    def __call__(self, workflow: str, text: str) -> tuple[refs.Ref, Sequence[refs.Blob]]:
        """Give the input and its blobs."""
        ...


class Bench(NamedTuple):
    """A back end with four workflows that take a text.

    ``echo`` completes with the text, ``failing`` raises ``ValueError("no")``, ``gated`` waits to be released, and
    ``asking`` asks for a number with the text as its question, and completes with the number; withdrawn, with nothing.

    Attributes:
        runs: The back end.
        accept: Encodes the input of a workflow.
        release: Lets every run of ``gated`` go on, now and from now on.
        reopen: Stops the back end as if killed and gives it as a new process finds it; one that lives in
            memory gives itself.
    """

    runs: store.Runs
    accept: Accept
    release: Callable[[], None]
    reopen: Callable[[], Awaitable[store.Runs]]

    async def killed(self) -> Bench:
        """Give the same with its back end killed and started again."""
        return self._replace(runs=await self.reopen())

    async def start(
        self, workflow: str, run_id: str, text: str = "hello", *, wait: float = 0.0
    ) -> tuple[store.Run, bool]:
        """Start a run."""
        value, blobs = self.accept(workflow, text)
        return await self.runs.start(workflow, run_id, value, blobs, wait=wait)

    async def ended(self, run_id: str) -> store.Run:
        """Wait for a run to end."""
        run = await self.runs.wait(run_id, PATIENCE_SECONDS)
        assert run is not None
        assert run.status in store.ENDED, f"the run {run_id} is still {run.status}"
        return run

    async def followed(self, run_id: str, after: int = 0) -> list[store.Event]:
        """Follow a run to its end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [event async for event in self.runs.follow(run_id, after)]

    async def asked(self, run_id: str) -> store.Pending:
        """Wait until a run asks something."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for event in self.runs.follow(run_id):
                if event.type == "request_info":
                    break
        run = await self.runs.get(run_id)
        assert run is not None
        assert len(run.requests) == 1
        return run.requests[0]

    async def answer(self, run_id: str, request_id: str, body: bytes) -> store.Accepted:
        """Answer with JSON."""
        return await self.runs.answer(run_id, request_id, body, "application/json")
