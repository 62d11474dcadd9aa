"""A scheduler's client, as the runs of a replaying host use it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # it ships no types
from azure.core import exceptions
from durabletask import client as durable

from perdure import errors
from perdure.hosts.durabletask import sdk
from perdure.hosts.replay import client
from perdure.routes import runs
from perdure.workflow import protocol

WAITS_AT_ONCE: Final = 64
"""So many wait in calls that the scheduler answers when a run ends; the others ask again and again."""

LONGEST_WAIT_SECONDS: Final = 25.0
FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
HEALTH_SECONDS: Final = 2.0
SIGN_IN_SECONDS: Final = 15.0
"""How long the first answer of a scheduler may take to which one signs in: the Azure CLI alone takes some of it."""

_AWAY: Final = "Is the endpoint right, and does it run? What was accepted is kept."
_ROLE: Final = "The identity needs the role Durable Task Data Contributor on the task hub."

_STATUSES: Final[dict[durable.OrchestrationStatus, runs.Status]] = {
    durable.OrchestrationStatus.RUNNING: "Running",
    durable.OrchestrationStatus.CONTINUED_AS_NEW: "Running",
    durable.OrchestrationStatus.PENDING: "Pending",
    durable.OrchestrationStatus.COMPLETED: "Completed",
    durable.OrchestrationStatus.FAILED: "Failed",
    durable.OrchestrationStatus.TERMINATED: "Terminated",
    durable.OrchestrationStatus.SUSPENDED: "Suspended",
}


class SchedulerClient:
    """Starts, looks at and ends the orchestrations of a task hub.

    Args:
        where: The scheduler.
        credential: For a secure one; closed with the client.
        waits_at_once: How many wait in calls that the scheduler answers when a run ends.
    """

    def __init__(self, where: sdk.Address, credential: Any = None, *, waits_at_once: int = WAITS_AT_ONCE) -> None:
        self._where = where
        self._credential = credential
        self._inner = sdk.make_client(where, credential)
        self._waits = asyncio.Semaphore(waits_at_once)

    async def close(self) -> None:
        """Hang up."""
        await self._inner.close()
        if self._credential is not None:
            await self._credential.close()

    async def start(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration; False if there is one of this id."""
        return await self._start(name, instance_id, call, sdk.refusing())

    async def start_again(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration in the place of one that has failed."""
        return await self._start(name, instance_id, call, sdk.replacing_failed())

    async def get(self, instance_id: str) -> client.State | None:
        """Give an orchestration with its output."""
        async with self._told():
            return _state(await self._inner.get_orchestration_state(instance_id))

    async def given(self, instance_id: str) -> str | None:
        """Give what began the life of an orchestration; None if it is not there."""
        async with self._told():
            found = await self._inner.get_orchestration_state(instance_id)
        return None if found is None else _text(found.serialized_input)

    async def wait(self, instance_id: str, seconds: float) -> client.State | None:
        """Give an orchestration as soon as it has ended, or as it stands when the time is over."""
        over = time.monotonic() + seconds
        delay = FIRST_POLL_SECONDS
        while (left := over - time.monotonic()) > 0:
            if not self._waits.locked():
                async with self._waits, self._told():
                    with contextlib.suppress(TimeoutError):
                        return _state(
                            await self._inner.wait_for_orchestration_completion(
                                instance_id, timeout=min(left, LONGEST_WAIT_SECONDS)
                            )
                        )
                continue
            state = await self.get(instance_id)
            if state is None or state.ended:
                return state
            await asyncio.sleep(min(delay, left))
            delay = min(delay * 2, LONGEST_POLL_SECONDS)
        return await self.get(instance_id)

    async def raise_event(self, instance_id: str, name: str, data: str) -> None:
        """Send an event; one for nobody is lost."""
        async with self._told():
            with _unless(grpc.StatusCode.NOT_FOUND):
                await self._inner.raise_orchestration_event(instance_id, name, data=data)

    async def terminate(self, instance_id: str, reason: str) -> None:
        """End an orchestration from outside."""
        async with self._told():
            with _unless(grpc.StatusCode.NOT_FOUND):
                await self._inner.terminate_orchestration(instance_id, output=reason)

    async def purge(self, instance_id: str) -> None:
        """Delete an orchestration that has ended."""
        async with self._told():
            with _unless(grpc.StatusCode.NOT_FOUND):
                await self._inner.purge_orchestration(instance_id)

    async def list(self, created_from: float, created_to: float, prefix: str) -> Sequence[client.State]:
        """Give the orchestrations created from one time up to another, without their outputs."""
        return await self._list(
            durable.OrchestrationQuery(
                created_time_from=datetime.fromtimestamp(max(created_from, 0.0), UTC),
                created_time_to=datetime.fromtimestamp(created_to, UTC),
                instance_id_prefix=prefix or None,
            )
        )

    async def completed(self, prefix: str) -> Sequence[client.State]:
        """Give the orchestrations that have completed and have not been deleted."""
        completed = [durable.OrchestrationStatus.COMPLETED]
        return await self._list(durable.OrchestrationQuery(runtime_status=completed, instance_id_prefix=prefix))

    async def _list(self, asked: durable.OrchestrationQuery) -> Sequence[client.State]:
        async with self._told():
            found = await self._inner.get_all_orchestration_states(asked)
        return [state for state in map(_state, found) if state is not None]

    async def trouble(self) -> str | None:
        """Say why the scheduler cannot be used; None where it can."""
        found = await self.fault()
        return None if found is None else str(found)

    async def fault(self) -> errors.HubError | None:
        """Say why the scheduler cannot be used, and what to do; None where it can."""
        patience = SIGN_IN_SECONDS if self._where.secure else HEALTH_SECONDS
        try:
            async with asyncio.timeout(patience):
                await self.get("perdure-health")
        except TimeoutError:
            return errors.HubError(f"{self._named()} does not answer within {patience:g} s.", _AWAY)
        except errors.HubError as error:
            return error
        return None

    async def _start(self, name: str, instance_id: str, call: str, policy: Any) -> bool:
        async with self._told():
            try:
                await self._inner.schedule_new_orchestration(
                    name, input=call, instance_id=instance_id, reuse_id_policy=policy
                )
            except grpc.aio.AioRpcError as error:
                if error.code() == grpc.StatusCode.ALREADY_EXISTS:
                    return False
                raise
        return True

    @contextlib.asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Say what is wrong with the scheduler in words that help."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            code = error.code()
            details = (error.details() or code.name).rpartition("last error: ")[2].removeprefix("UNKNOWN: ")
            if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                raise errors.HubError(
                    f"{self._named()} does not let this identity use the task hub {self._where.taskhub!r}: {details}",
                    f"{_ROLE} The scheduler's list of allowed addresses must have this one.",
                ) from error
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise errors.HubError(f"{self._named()} does not answer: {details}", _AWAY) from error
            if code == grpc.StatusCode.NOT_FOUND:
                raise errors.HubError(
                    f"{self._named()} has no task hub {self._where.taskhub!r}: {details}",
                    "Make it (az durabletask taskhub create), or name another one with --taskhub or TASKHUB_NAME; the "
                    "emulator has the one called default, and those of its DTS_TASK_HUB_NAMES.",
                ) from error
            raise errors.HubError(f"{self._named()} failed: {code.name}: {details}") from error
        except exceptions.ClientAuthenticationError as error:
            raise errors.HubError(
                f"No sign-in to {self._named(start='the')}: {str(error).strip().splitlines()[0]}",
                "Run az login, or give the host an identity. An emulator asks for none: its address is http://...",
            ) from error

    def _named(self, *, start: str = "The") -> str:
        return f"{start} scheduler at {self._where.url}"


@contextlib.contextmanager
def _unless(code: grpc.StatusCode) -> Any:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() != code or "task hub" in (error.details() or "").lower():
            raise


def _state(found: durable.OrchestrationState | None) -> client.State | None:
    if found is None:
        return None
    status = _STATUSES[found.runtime_status]
    custom = _text(found.serialized_custom_status)
    if status == "Pending" and custom is not None:
        # Between two of its lives.
        status = "Running"
    output = _text(found.serialized_output)
    failure: protocol.Failure | None = None
    if status == "Terminated":
        failure = protocol.Failure("Terminated", output or "")
    elif status == "Failed" and (details := found.failure_details) is not None:
        kind, message = details.error_type.rpartition(".")[2], details.message
        failure = protocol.Failure(kind, message, details.stack_trace or "")
    return client.State(
        found.instance_id,
        found.name,
        status,
        _seconds(found.created_at),
        _seconds(found.last_updated_at),
        output if status == "Completed" else None,
        custom,
        failure,
    )


def _text(encoded: str | None) -> str | None:
    """Read a text that the engine holds as JSON."""
    return None if not encoded else str(json.loads(encoded))


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()
