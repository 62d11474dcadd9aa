"""The official client of Durable Functions, as the runs of a replaying host use it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import msgspec

from perdure import errors
from perdure.hosts.azure import statuses, wire
from perdure.hosts.replay import client
from perdure.payloads import records
from perdure.routes import runs
from perdure.workflow import protocol

FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
HEALTH_SECONDS: Final = 2.0

_STATUSES: Final[dict[str, runs.Status]] = {
    "Running": "Running",
    "ContinuedAsNew": "Running",
    "Pending": "Pending",
    "Completed": "Completed",
    "Failed": "Failed",
    "Terminated": "Terminated",
    "Canceled": "Terminated",
    "Suspended": "Suspended",
}
_GONE: Final = ("is gone", "No instance with ID")


class DurableClient:
    """Orchestrations of this function app's task hub.

    Args:
        inner: The client that the invocation was given.
        kept: Where the records beside orchestrations are.
    """

    def __init__(self, inner: df.DurableOrchestrationClient, kept: records.RecordStore) -> None:
        self._inner = inner
        self._records = kept

    async def start(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration; False if there is one of this id, whether it has ended or not."""
        if await self._status(instance_id) is not None:
            return False
        return await self._start(name, instance_id, call)

    async def start_again(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration in the place of one that has failed; False if that has not failed."""
        found = await self._status(instance_id)
        if found is None or _status_of(found) != "Failed":
            return False
        return await self._start(name, instance_id, call)

    async def get(self, instance_id: str) -> client.State | None:
        """Give an orchestration with its output; None for an unknown id."""
        return await self._state(await self._status(instance_id))

    async def given(self, instance_id: str) -> str | None:
        """Give what began the life of an orchestration; None if it is not there, or was started by hand."""
        found = await self._status(instance_id, show_input=True)
        return None if found is None else wire.begun(found.input_)

    async def wait(self, instance_id: str, seconds: float) -> client.State | None:
        """Give an orchestration as soon as it is seen to have ended, or as it stands when the time is over."""
        over = time.monotonic() + seconds
        delay = FIRST_POLL_SECONDS
        while True:
            state = await self.get(instance_id)
            left = over - time.monotonic()
            if state is None or state.ended or left <= 0:
                return state
            await asyncio.sleep(min(delay, left))
            delay = min(delay * 2, LONGEST_POLL_SECONDS)

    async def raise_event(self, instance_id: str, name: str, data: str) -> None:
        """Send an event; one for nobody is lost."""
        async with told():
            with _unless_gone():
                await self._inner.raise_event(quote(instance_id, safe=""), name, wire.pack(wire.Event(data)))

    async def terminate(self, instance_id: str, reason: str) -> None:
        """End an orchestration from outside."""
        async with told():
            with _unless_gone():
                await self._inner.terminate(quote(instance_id, safe=""), quote(reason, safe=""))

    async def purge(self, instance_id: str) -> None:
        """Delete an orchestration that has ended."""
        async with told():
            await self._inner.purge_instance_history(quote(instance_id, safe=""))

    async def list(self, created_from: float, created_to: float, prefix: str) -> Sequence[client.State]:
        """Give the orchestrations created from one time up to another, without their outputs, in any order."""
        async with told():
            found = await self._inner.get_status_by(
                created_time_from=_moment(created_from),
                # Times there are in whole seconds.
                created_time_to=_moment(created_to + 1.0),
                instance_id_prefix=quote(prefix, safe=""),
            )
        states = [await self._state(status) for status in found if not str(status.instance_id).startswith("@")]
        return [state for state in states if state is not None]

    async def trouble(self) -> str | None:
        """Say why the engine does not answer; None where it does."""
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._status("perdure-health")
        except TimeoutError:
            return f"The Durable Functions extension has not answered within {HEALTH_SECONDS:g} s."
        except errors.HubError as error:
            return str(error)
        return None

    async def _start(self, name: str, instance_id: str, call: str) -> bool:
        async with told():
            try:
                await self._inner.start_new(name, quote(instance_id, safe=""), wire.pack(wire.Start(call)))
            except Exception as error:
                if "already exists" in str(error):
                    return False
                raise
        return True

    async def _status(self, instance_id: str, *, show_input: bool = False) -> Any:
        async with told():
            found = await self._inner.get_status(quote(instance_id, safe=""), show_input=show_input)
        return found if found else None

    async def _state(self, status: Any) -> client.State | None:
        if status is None:
            return None
        shown = _status_of(status)
        failure: protocol.Failure | None = None
        if shown in ("Failed", "Terminated"):
            failure = protocol.Failure(shown, "" if status.output is None else str(status.output))
        state = client.State(
            status.instance_id,
            status.name or "",
            shown,
            status.created_time.timestamp(),
            status.last_updated_time.timestamp(),
            custom_status=await statuses.said(status.custom_status, status.instance_id, self._records),
            failure=failure,
        )
        if shown != "Completed":
            return state
        output = await wire.ended(status.output, state.owner, self._records)
        return msgspec.structs.replace(state, output=output)


def _status_of(status: Any) -> runs.Status:
    return _STATUSES[status.runtime_status.value]


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(max(seconds, 0.0), datetime.UTC)


@contextlib.contextmanager
def _unless_gone() -> Any:
    try:
        yield
    except Exception as error:
        if not any(words in str(error) for words in _GONE):
            raise


@contextlib.asynccontextmanager
async def told() -> AsyncIterator[None]:
    """Say that the engine could not be asked: the SDK raises nothing but ``Exception``."""
    try:
        yield
    except Exception as error:
        said = str(error) or type(error).__name__
        raise errors.HubError(
            f"The Durable Functions extension did not do what it was asked: {said}",
            "Look at the log of the Functions host; is the storage account there?",
        ) from error
