"""Activities of a replaying host: what is done for one work item, from its input to its reply."""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from perdure import errors, tracebacks
from perdure.hosts.replay import ends, log, wire
from perdure.payloads import owners, records, store
from perdure.workflow import deadlines, failures, orchestrator, protocol, run_state

RUNS_AT_HAND: Final = 256
"""How many runs keep their copies of executors in this process between two steps."""

logger = logging.getLogger("perdure")


class Activities:
    """Does the work of activities by name.

    Args:
        activities: By their durable names.
        payloads: Where the payloads of results go.
        kept: Where the logs and other records of runs are.
        release: Told the run whose copies of executors are let go of.
    """

    def __init__(
        self,
        activities: Mapping[str, protocol.Activity],
        payloads: store.PayloadStore,
        kept: records.RecordStore,
        release: Callable[[str], None] = lambda run: None,
    ) -> None:
        self._activities = activities
        self._payloads = payloads
        self._records = kept
        self._log = log.Log(kept)
        self._release = release
        self._at_hand: collections.OrderedDict[str, int] = collections.OrderedDict()

    async def __call__(self, instance_id: str, name: str, task: wire.Task) -> wire.Reply:
        """Do the work of one item; whatever goes wrong is in the reply."""
        # Its run may be deleted by now, and its id taken again: what it writes is seen under this owner only.
        owner = owners.of(instance_id, task.incarnation)
        try:
            if name == wire.NOTE:
                return await self._note(owner, task)
            if not task.pages:
                return await self._act(owner, name, task)
            # The log does not wait for the work, nor the work for the log.
            telling = asyncio.ensure_future(self._log.write(owner, task.pages))
            try:
                reply = await self._act(owner, name, task)
            finally:
                await asyncio.wait([telling])
            await telling
            return reply
        except errors.HubError as error:
            return _held(error)

    def forget(self, run: str) -> None:
        """Let go of the copies of a run that has ended."""
        for owner in [owner for owner, busy in self._at_hand.items() if not busy and owners.run_of(owner) == run]:
            del self._at_hand[owner]
            self._release(owner)

    async def _note(self, owner: str, task: wire.Task) -> wire.Reply:
        await self._log.write(owner, task.pages)
        if task.end is not None:
            await ends.keep(self._records, owner, task.end)
        return wire.Reply("result")

    async def _act(self, owner: str, name: str, task: wire.Task) -> wire.Reply:
        activity = self._activities.get(name)
        if activity is None:
            return _held(LookupError(f"No worker that was asked has the activity {name!r}."))
        call = wire.decode_call(task.call)
        if isinstance(call, deadlines.Expiry):
            return await self._expire(owner, activity, task, call)
        return await self._work(owner, activity, task, call)

    async def _work(self, owner: str, activity: protocol.Activity, task: wire.Task, call: Any) -> wire.Reply:
        self._hold_at_hand(owner)
        try:
            async with asyncio.timeout(task.patience or None):
                outcome = await activity(owner, task.key, call)
            await self._payloads.put(outcome.owner or owner, outcome.blobs)
        except protocol.Stranded as error:
            return _held(error)
        except errors.HubError:
            raise
        except asyncio.CancelledError as error:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise  # The worker stops; the scheduler gives the work to another.
            return _failed(error)
        except Exception as error:
            return _failed(error)
        finally:
            self._let_go_of_oldest(owner)
        return wire.Reply("result", outcome.data)

    async def _expire(
        self, run: str, activity: protocol.Activity, task: wire.Task, call: deadlines.Expiry
    ) -> wire.Reply:
        """Give what becomes of a request whose deadline has passed: what its record says, written here if by nobody."""
        request = call.request
        if (told := await self._told(run, request)) is not None:
            return told
        reply = await self._work(run, activity, task, call)
        found = wire.decode(reply.data, run_state.StepResult) if reply.kind == "result" else None
        if found is not None and found.messages:
            answer = run_state.Answer(request.id, found.messages[0].ref, request.superstep)
            heard = wire.Heard(orchestrator.ANSWER, orchestrator.encode_answer(answer))
            if await self._records.put_if_absent(run, wire.request_record(request), wire.encode(heard)):
                return reply
        # Somebody may have been accepted meanwhile.
        return await self._told(run, request) or reply

    async def _told(self, run: str, request: run_state.Request) -> wire.Reply | None:
        """Give what is decided of a request: who was accepted may have died before the run was told."""
        body = await self._records.get(run, wire.request_record(request))
        if body is None:
            return None
        heard = wire.decode(body, wire.Heard)
        if heard.name == orchestrator.WITHDRAWAL:
            result = deadlines.withdrawn_before(request)
        else:
            answer = orchestrator.decode_answer(heard.data)
            result = deadlines.answered(answer.message, told=heard.at > 0)
        return wire.Reply("result", orchestrator.encode_result(result))

    def _hold_at_hand(self, run: str) -> None:
        self._at_hand[run] = self._at_hand.get(run, 0) + 1
        self._at_hand.move_to_end(run)

    def _let_go_of_oldest(self, run: str) -> None:
        if run in self._at_hand:
            self._at_hand[run] -= 1
        while len(self._at_hand) > RUNS_AT_HAND:
            oldest = next((idle for idle, busy in self._at_hand.items() if not busy), None)
            if oldest is None:
                return
            del self._at_hand[oldest]
            self._release(oldest)


def _failed(error: BaseException) -> wire.Reply:
    return wire.Reply("failure", failure=tracebacks.failure(error))


def _held(error: Exception) -> wire.Reply:
    logger.warning("%s It is tried again.", error)
    return wire.Reply("held", failure=protocol.Failure(failures.name(type(error)), str(error)))
