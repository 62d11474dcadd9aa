"""The runs that the routes stand on: what a host offers to the HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from perdure.payloads import refs
from perdure.workflow import options, protocol

Status = Literal["Pending", "Running", "Completed", "Failed", "Terminated", "Suspended"]
DELTA: Final = "delta"
"""The type of an event that is said and not recorded."""

STOPPING: Final = "The host is stopping."
"""The trouble of a host that is about to end."""

ENDED: frozenset[str] = frozenset({"Completed", "Failed", "Terminated"})


class Pending(msgspec.Struct, frozen=True):
    """A request of a run that waits for its answer.

    Attributes:
        id: The request's id.
        executor: Who asked.
        data: What is asked, as plain JSON.
        request_type: Class of what is asked, ``module:class`` where it is known.
        response_type: Type of the answer, likewise.
        schema: A JSON schema of the answer.
        deadline: When it is answered for whoever should have, seconds since the epoch; 0 for never.
    """

    id: str
    executor: str
    data: Any
    request_type: str
    response_type: str
    schema: dict[str, Any]
    deadline: float = 0.0


Accepted = Literal["accepted", "answered", "unknown"]
"""What became of an answer or a withdrawal.

``answered`` if the request was answered or withdrawn before, ``unknown`` if there is no such request.
"""


class Run(msgspec.Struct, frozen=True):
    """A run as it stands.

    Attributes:
        id: The run id, which is the orchestration instance id.
        workflow: The hosted name of its workflow.
        status: Where it is in its life.
        created: Seconds since the epoch.
        updated: Seconds since the epoch of the last thing recorded of it.
        output: The list of outputs as plain JSON values; None until it completed.
        failure: Why it failed or was terminated.
        custom_status: What it says of itself (plain JSON).
        requests: What it waits to be answered, in the order asked.
        input_digest: Digest of the input and options it was started with, to tell a repeated start from a clash; may be
            empty where the run was not given by a start.
    """

    id: str
    workflow: str
    status: Status
    created: float
    updated: float
    output: list[Any] | None = None
    failure: protocol.Failure | None = None
    custom_status: Any = None
    requests: tuple[Pending, ...] = ()
    input_digest: bytes = b""


class Event(msgspec.Struct, frozen=True):
    """One entry of a run's durable event log.

    Attributes:
        id: 1 for the first event of a run, then counting up without gaps; 0 for what is not recorded.
        type: What happened, such as ``superstep_started`` or ``output``.
        time: Seconds since the epoch.
        data: Plain JSON fields that go with the type.
    """

    id: int
    type: str
    time: float
    data: dict[str, Any]


class Query(msgspec.Struct, frozen=True):
    """Which runs to list; newest first.

    Attributes:
        workflow: Only runs of this workflow.
        statuses: Only runs in one of these.
        created_from: Only runs created at this time (seconds since the epoch) or later.
        created_to: Only runs created before this time.
        prefix: Only runs whose id starts so.
        cursor: Where the page before ended.
        limit: Runs a page, 1 to 1000.
    """

    workflow: str | None = None
    statuses: tuple[Status, ...] = ()
    created_from: float | None = None
    created_to: float | None = None
    prefix: str = ""
    cursor: str | None = None
    limit: int = 100


class Page(msgspec.Struct, frozen=True):
    """A page of runs and where the next one starts (None at the end)."""

    runs: Sequence[Run]
    cursor: str | None = None


class Runs(Protocol):
    """What a host offers. Times are in seconds; every back end runs ``perdure.testing.conformance.runs``."""

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
    ) -> tuple[Run, bool]:
        """Start a run unless the id exists; gives the run and whether it is new.

        When this returns the run is accepted for good.

        Args:
            workflow: The name it is hosted under.
            run_id: The run's id.
            value: Its encoded input.
            blobs: Payloads that ``value`` and ``given`` refer to.
            given: What else the run is given.
            fresh: Whether the id was made for this start, and nobody else can have it.
            wait: Give it when it has ended, or after so many seconds; one that was there with another input at once.

        Raises:
            HubError: If it could not be made durable: nothing was started.
        """
        ...

    async def get(self, run_id: str) -> Run | None:
        """Give a run, or None for an unknown id."""
        ...

    async def wait(self, run_id: str, seconds: float) -> Run | None:
        """Give a run as soon as it has ended, or as it stands when the time is over."""
        ...

    async def answer(self, run_id: str, request_id: str, body: bytes, content_type: str) -> Accepted:
        """Answer an open request. When this returns ``accepted`` the answer is kept for good.

        Raises:
            EmptyInput: If the body is empty.
            MalformedInput: If it is not JSON.
            InvalidInput: If it does not fit the request's response type; the request stays open.
            HubError: If it could not be made durable: the request stays open.
        """
        ...

    async def withdraw(self, run_id: str, request_id: str) -> Accepted:
        """Withdraw an open request. When this returns ``accepted`` it is withdrawn for good.

        Who asked is told, as by the framework's ``cancel_pending_requests``; the run goes on.

        Raises:
            HubError: If it could not be made durable: the request stays open.
        """
        ...

    async def query(self, query: Query) -> Page:
        """List runs, newest first.

        Raises:
            UsageError: If the cursor came from no page of this store.
        """
        ...

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Give up to ``limit`` events with ids above ``after``."""
        ...

    def follow(self, run_id: str, after: int = 0, *, live: bool = False) -> AsyncIterator[Event]:
        """Give the events with ids above ``after`` and those to come; ends after the final one.

        With ``live``, also what agents in streaming mode say while they say it: ``delta`` events, which are not
        recorded and have the id 0.
        """
        ...

    async def terminate(self, run_id: str, reason: str) -> bool:
        """End a run as Terminated; False if it had ended or is unknown."""
        ...

    async def rewind(self, run_id: str) -> bool:
        """Let a failed run go on from the step that failed; what had completed stays completed.

        False if it is unknown, has not failed, or cannot go on from there.
        """
        ...

    async def purge(self, run_id: str) -> bool:
        """Delete an ended run with its payloads; False if it is unknown or has not ended."""
        ...

    async def trouble(self) -> str | None:
        """Say what keeps the host from taking work; None where nothing does."""
        ...
