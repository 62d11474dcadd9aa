"""Durable agents as durable entities: one entity for each session, one operation at a time, in the order sent.

An entity may be given a message twice, where a worker ended in the middle of it. So what came of a turn is a record,
written before the state of the entity: a turn that has one is not run again, and a state that is behind is brought up.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import msgspec

from perdure import errors, tracebacks
from perdure.agents import calls, hosted, log, records
from perdure.hosts.azure import sdk
from perdure.hosts.replay import wire as texts
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.routes import views
from perdure.workflow import protocol

TURN: Final = "turn"
DELETE: Final = "delete"
SENT: Final = "sent/"
ENDED: Final = "ended/"

STORE_RETRY_SECONDS: Final = (1.0, 5.0, 15.0, 30.0)
"""How long to wait before a turn goes on that the store held up; after the last it fails."""

logger = logging.getLogger("perdure")


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What came of a turn.

    Attributes:
        number: The conversation's turns with it; 0 if it left no entry.
        head: The conversation's newest entry after it.
        document: What the agent's providers keep after it.
        failure: Why it left no entry.
    """

    number: int
    head: refs.Ref | None = None
    document: refs.Ref | None = None
    failure: protocol.Failure | None = None


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An entity's state; it stays small however long the conversation is.

    Attributes:
        created: Seconds since the epoch.
        session: The session.
    """

    created: float
    session: records.State


class Refused(errors.PerdureError):
    """An agent failed, or was sent what it cannot take; its message is what the orchestration is told."""


class _Done(NamedTuple):
    """What an operation has come to: the state after it, none if the session is deleted, and the answer."""

    kept: Kept | None
    answer: Any = None
    error: Exception | None = None


def encode(kept: Kept) -> dict[str, Any]:
    """Give an entity's state as plain JSON."""
    return {"entries": kept.session.entries, "touched": kept.session.touched, "session": texts.pack(kept)}


def decode(state: Any) -> Kept | None:
    """Read an entity's state; None if there is none."""
    return texts.unpack(state["session"], Kept) if isinstance(state, dict) and "session" in state else None


def sent(correlation_id: str) -> str:
    """Name the record that a turn was sent."""
    return SENT + _digest(correlation_id)


def ended(correlation_id: str) -> str:
    """Name the record of what came of a turn."""
    return ENDED + _digest(correlation_id)


def expires(session: records.State) -> float:
    """When a session expires, seconds since the epoch; 0 for never."""
    return session.touched + session.ttl if session.ttl > 0 else 0.0


class Entity:
    """The entity function of one agent.

    Args:
        bound: The agent.
        payloads: Where its conversations lie.
        kept: Where its records lie.
        run: Runs a coroutine on the loop of agents and executors.
        clock: Gives seconds since the epoch.
    """

    def __init__(
        self,
        bound: hosted.Bound,
        payloads: store.PayloadStore,
        kept: beside.RecordStore,
        run: Callable[[Coroutine[Any, Any, _Done]], Awaitable[_Done]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bound = bound
        self._payloads = payloads
        self._records = kept
        self._run = run
        self._clock = clock

    async def __call__(self, body: str) -> str:
        """Carry out a batch of operations, as the extension hands it over; gives what it takes back.

        The SDK's handler of entities is not asynchronous, and would hold a thread of the worker for as long as a model
        takes. So the work is done first, and the handler is told what has come of each operation.
        """
        before, operations = sdk.entity_batch(body)
        done: collections.deque[_Done] = collections.deque()
        kept = decode(before.get_state())
        for operation in operations:
            took = await self._run(self._carefully(before.entity_key, operation, kept))
            kept = took.kept
            done.append(took)
        return sdk.entity_answer(body, lambda context: _tell(context, done.popleft()))

    async def _carefully(self, key: str, operation: sdk.Operation, before: Kept | None) -> _Done:
        try:
            return await self._take(key, operation.name, operation.input, before)
        except Exception as error:
            if not isinstance(error, errors.PerdureError):
                logger.exception("Session %r of agent %r failed", key, self._bound.hosted.name)
            elif operation.is_signal:
                # Nobody else is told of it.
                logger.error("Agent %r took no message for session %r: %s", self._bound.hosted.name, key, error)
            return _Done(before, error=error)

    async def _take(self, key: str, operation: str, given: Any, before: Kept | None) -> _Done:
        instance_id = self._bound.instance(key)
        now = self._clock()
        if before is None or 0 < expires(before.session) <= now:
            # What an expired session has left is deleted by whoever sends the next turn, which lies beside it.
            self._bound.turns.release(instance_id)
            before = Kept(now, records.State(touched=now))
        if operation == DELETE:
            # What it kept has been deleted by whoever sent this.
            self._bound.turns.release(instance_id)
            return _Done(None)
        if operation == calls.RESET:
            self._bound.turns.release(instance_id)
            session = msgspec.structs.replace(before.session, head=None, document=None, entries=0, touched=now)
            return _Done(msgspec.structs.replace(before, session=session), {"status": "reset"})
        if operation == TURN:
            turn = texts.unpack(given["turn"], records.Turn)
            if await self._records.get(instance_id, sent(turn.correlation_id)) is None:
                # The session was deleted with the turn in it.
                return _Done(before)
            _, kept = await self._turn(instance_id, before, turn)
            return _Done(kept)
        if operation not in calls.OPERATIONS:
            raise Refused(f"An agent has no operation {operation!r}; it has 'run' and 'reset'.")
        outcome, kept = await self._turn(instance_id, before, await self._accept(instance_id, given))
        if outcome.head is None:
            return _Done(kept, error=Refused(views.error(outcome.failure) or ""))
        entry = self._bound.entry(instance_id, outcome.head)
        if entry.failure is not None:
            return _Done(kept, error=Refused(views.error(entry.failure) or ""))
        response = log.answer(self._bound.values_of(instance_id), entry)
        assert response is not None
        return _Done(kept, calls.answer(response))

    async def _accept(self, instance_id: str, given: Any) -> records.Turn:
        agent = self._bound.hosted
        try:
            call = calls.read(given, uuid.uuid4().hex, agent.codec.resolve)
            ref, blobs = agent.accept(call.request)
        except (errors.EmptyInput, errors.InvalidInput, errors.CodecError) as error:
            raise Refused(str(error)) from error
        await self._payloads.put(instance_id, blobs)
        return records.Turn(call.correlation_id, ref, agent.session_ttl, rule=agent.rule)

    async def _turn(self, instance_id: str, kept: Kept, turn: records.Turn) -> tuple[Outcome, Kept]:
        name = ended(turn.correlation_id)
        body = await self._records.get(instance_id, name)
        if body is None:
            outcome = await self._patiently(
                instance_id, kept.session, msgspec.structs.replace(turn, accepted=self._clock())
            )
            await self._records.put_if_absent(instance_id, name, texts.encode(outcome))
        else:
            outcome = texts.decode(body, Outcome)
        session = kept.session
        if outcome.number > session.entries:
            session = msgspec.structs.replace(
                session, head=outcome.head, document=outcome.document, entries=outcome.number
            )
        session = msgspec.structs.replace(session, touched=self._clock(), ttl=turn.ttl)
        return outcome, msgspec.structs.replace(kept, session=session)

    async def _patiently(self, instance_id: str, session: records.State, turn: records.Turn) -> Outcome:
        for wait in (*STORE_RETRY_SECONDS, None):
            try:
                return await self._attempts(instance_id, session, turn)
            except errors.HubError as error:
                if wait is None:
                    raise
                logger.warning("A turn of session %r waits: %s", instance_id, error)
                await asyncio.sleep(wait)
            except Exception as error:
                return Outcome(0, failure=tracebacks.failure(error))
        raise AssertionError("the last attempt gives or raises")

    async def _attempts(self, instance_id: str, session: records.State, turn: records.Turn) -> Outcome:
        number = session.entries + 1
        attempt = 1
        while True:
            call = records.Call(turn, number, session.head, session.document, session.entries, attempt)
            given = await self._bound.turns(instance_id, f"turn-{number}", call)
            result: records.Result = given.value
            if result.wait is None:
                # The conversation before what tells of it: whoever sees one finds the other.
                await self._payloads.put(instance_id, given.blobs)
                return Outcome(number, result.head, result.document)
            await asyncio.sleep(result.wait)
            attempt += 1


def _tell(context: df.DurableEntityContext, done: _Done) -> None:
    if done.kept is None:
        context.destruct_on_exit()
        return
    # Before it raises: an error is remembered as what it is.
    context.set_state(encode(done.kept))
    if done.error is not None:
        raise done.error
    context.set_result(done.answer)


def _digest(correlation_id: str) -> str:
    return hashlib.sha256(correlation_id.encode("utf-8", "surrogatepass")).hexdigest()[:40]
