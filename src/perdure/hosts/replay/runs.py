"""Runs over an engine's client and two stores: what the routes stand on where the engine is elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry import propagate

from perdure.agents import naming as agents
from perdure.hosts import shown
from perdure.hosts.replay import client, decisions, ends, listing, log, rewinds, start_records, starts, wire
from perdure.payloads import records, refs, store
from perdure.routes import runs
from perdure.workflow import answers, events, hosted, naming, options, orchestrator, protocol, run_state

FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
END_PATIENCE_SECONDS: Final = 30.0
"""How long a termination waits for a worker to carry it out."""


class ReplayRuns:
    """The runs of an app's workflows.

    Args:
        engine: The engine's client.
        payloads: Where payloads are.
        kept: Where the records beside runs are.
        bounds: The workflows by the name they are hosted under.
        inline_bytes: The longest input of an orchestration that is not stored apart.
        storage_trouble: Says why payloads and records cannot be had; None where that is not asked.
    """

    def __init__(
        self,
        engine: client.Client,
        payloads: store.PayloadStore,
        kept: records.RecordStore,
        bounds: Mapping[str, hosted.Bound],
        *,
        inline_bytes: int = starts.CALL_INLINE_BYTES,
        storage_trouble: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        self._engine = engine
        self._payloads = payloads
        self._records = kept
        self._log = log.Log(kept)
        self._storage_trouble = storage_trouble
        self._starts = starts.Starts(engine, payloads, kept, inline_bytes)
        self._decisions = decisions.Decisions(engine, kept)
        self._rewinds = rewinds.Rewinds(engine, kept, self._starts, self._decisions)
        self._bounds = bounds
        self._workflows = shown.Workflows(bounds)

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
        bound = self._bounds[workflow]
        digest = options.digest(value, given)
        trace: dict[str, str] = {}
        propagate.inject(trace)
        started, new = await self._starts.start(
            bound.orchestrator.name, run_id, bound.start(value, trace, given), digest, blobs, fresh=fresh
        )
        if not new or wait > 0:
            same = started.digest == digest
            state = await (self._engine.wait(run_id, wait) if wait > 0 and same else self._engine.get(run_id))
            if state is not None:
                return await self._run(state, started), new
        return _pending(run_id, self._workflows.name(started.name), started), new

    async def get(self, run_id: str) -> runs.Run | None:
        """Give a run, or None for an unknown id."""
        return await self._shown(run_id, await self._engine.get(run_id))

    async def wait(self, run_id: str, seconds: float) -> runs.Run | None:
        """Give a run as soon as it has ended, or as it stands when the time is over."""
        return await self._shown(run_id, await self._engine.wait(run_id, seconds))

    async def answer(self, run_id: str, request_id: str, body: bytes, content_type: str) -> runs.Accepted:
        """Answer an open request; durable when it returns."""
        state = await self._engine.get(run_id)
        bound = self._bound(state)
        if state is None or bound is None:
            return "unknown"
        request = _open(state, request_id)
        if request is None:
            return await self._was_asked(bound, state, request_id)
        owner = await self._owner(state)
        seen = bound.values_of(owner)
        ref, blobs = await asyncio.to_thread(
            lambda: bound.hosted.accept_answer(request, lambda: seen.decode(request.data), body, content_type)
        )
        # The answer's payload before the answer: whoever sees one finds the other.
        await self._payloads.put(owner, blobs)
        answer = orchestrator.encode_answer(run_state.Answer(request_id, ref, request.superstep))
        return await self._decisions.decide(owner, request, wire.Heard(orchestrator.ANSWER, answer, time.time()))

    async def withdraw(self, run_id: str, request_id: str) -> runs.Accepted:
        """Withdraw an open request; durable when it returns."""
        state = await self._engine.get(run_id)
        bound = self._bound(state)
        if state is None or bound is None:
            return "unknown"
        request = _open(state, request_id)
        if request is None:
            return await self._was_asked(bound, state, request_id)
        status = _status(state)
        asked = () if status is None else status.requests
        owner = await self._owner(state)
        ids = await asyncio.to_thread(answers.withdrawn, asked, request_id, bound.values_of(owner).decode)
        told = await self._decisions.decide(owner, request, _withdrawal(request))
        for other in asked:
            if told == "accepted" and other.id in ids and other.id != request_id:
                await self._decisions.decide(owner, other, _withdrawal(other))
        return told

    async def query(self, query: runs.Query) -> runs.Page:
        """List runs; their outputs are not loaded."""
        page, following = await listing.newest(
            self._engine,
            lambda state: self._fits(state, query),
            query.prefix,
            query.cursor,
            query.limit,
            created_from=query.created_from,
            created_to=query.created_to,
        )
        return runs.Page([await self._run(state, None, outputs=False) for state in page], following)

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[runs.Event]:
        """Give up to ``limit`` events with ids above ``after``."""
        state = await self._engine.get(run_id)
        bound = self._bound(state)
        if state is None or bound is None:
            return []
        owner = await self._owner(state)
        await self._seal(state, owner)
        found = await self._log.reader(owner, after).read(limit, *state.tail)
        return await self._told(bound, owner, found)

    async def follow(self, run_id: str, after: int = 0, *, live: bool = False) -> AsyncIterator[runs.Event]:
        """Give the events with ids above ``after`` and those to come; ends after the final one.

        What is only said live is not heard here: the agents speak in another process.
        """
        state = await self._engine.get(run_id)
        bound = self._bound(state)
        if state is None or bound is None:
            return
        delay = FIRST_POLL_SECONDS
        while (owner := await self._known_owner(state)) is None and not state.ended:
            state = await self._engine.wait(run_id, delay)
            if state is None:
                return
            delay = min(delay * 2, LONGEST_POLL_SECONDS)
        owner = owner or run_id
        reader = self._log.reader(owner, after)
        delay = FIRST_POLL_SECONDS
        # Where it is deleted, and its id taken again, that is another run.
        while state is not None and state.owner in (None, owner):
            await self._seal(state, owner)
            found = await reader.read(log.AT_ONCE, *state.tail)
            for event in await self._told(bound, owner, found):
                yield event
            if not found and state.ended:
                return
            delay = FIRST_POLL_SECONDS if found else min(delay * 2, LONGEST_POLL_SECONDS)
            if not state.ended:
                state = await self._engine.wait(run_id, delay)

    async def terminate(self, run_id: str, reason: str) -> bool:
        """End a run as Terminated; False if it had ended or is unknown."""
        state = await self._engine.get(run_id)
        if state is None and (started := await self._starts.find_untold(run_id)) is not None:
            # Who accepted it may have died, or is about to tell the engine: it is told, and ends as any other.
            await self._starts.tell(run_id, started)
            state = await self._engine.get(run_id)
        if state is None or state.ended or self._bound(state) is None:
            return False
        await self._engine.terminate(run_id, reason)
        ended = await self._engine.wait(run_id, END_PATIENCE_SECONDS)
        if ended is None or not ended.ended:
            # No worker is there to carry it out; the first that comes will.
            return True
        await self._seal(ended, await self._owner(ended))
        return ended.status == "Terminated"

    async def rewind(self, run_id: str) -> bool:
        """Let a failed run go on from the step that failed; False if there is no such run or step."""
        return await self._rewinds.rewind(run_id)

    async def purge(self, run_id: str) -> bool:
        """Delete an ended run with its payloads; False if it is unknown or has not ended."""
        # In this order: what the engine has then is what the record was of, or never was recorded.
        started = await start_records.find(self._records, run_id)
        state = await self._engine.get(run_id)
        if state is None:
            may = started is not None and await self._starts.may_be_deleted(run_id, started)
        else:
            may = state.ended
            started = started or (await self._starts.write_down(state) if may else None)
        return started is not None and may and await self._starts.deletions.delete(run_id, started)

    async def trouble(self) -> str | None:
        """Say why the engine, or the store, cannot be had; None where both can."""
        asked: list[Awaitable[str | None]] = [self._engine.trouble()]
        if self._storage_trouble is not None:
            asked.append(self._storage_trouble())
        found = await asyncio.gather(*asked)
        return " ".join(filter(None, found)) or None

    async def outputs(self, run_id: str, seconds: float) -> list[Any]:
        """Wait for a run's end and give its outputs as they were yielded.

        Raises:
            TimeoutError: If it has not ended in time.
            LookupError: If it has not completed; its argument is why.
        """
        output, bound, owner = await self.completed(run_id, seconds)
        return await asyncio.to_thread(bound.outputs, owner, output)

    async def state(self, run_id: str, seconds: float) -> dict[str, Any]:
        """Wait for a run's end and give its final shared state; raises as :meth:`outputs` does."""
        output, bound, owner = await self.completed(run_id, seconds)
        return await asyncio.to_thread(bound.state, owner, output)

    async def completed(self, run_id: str, seconds: float = 0.0) -> tuple[bytes, hosted.Bound, str]:
        """Wait for a run's end; gives its encoded output, its workflow, and who owns what it keeps."""
        state = await self._engine.wait(run_id, seconds)
        bound = self._bound(state)
        if state is None or bound is None:
            raise LookupError(f"There is no run {run_id!r}.")
        if not state.ended:
            raise TimeoutError(f"Run {run_id} has not ended within {seconds:g} s; it goes on.")
        end = state.end
        if end is None or end.output is None:
            raise LookupError(await self._failure(state))
        return end.output, bound, await self._owner(state)

    # How a run is shown.

    async def _shown(self, run_id: str, state: client.State | None) -> runs.Run | None:
        if state is not None and self._bound(state) is not None:
            return await self._run(state, None)
        # The engine may not know of it yet; or it is no run, or one of a workflow that is gone.
        started = await (self._starts.find_untold(run_id) if state is None else self._starts.known(state))
        if started is None:
            return None
        if state is not None:
            return await self._run(state, started)
        return _pending(run_id, self._workflows.name(started.name), started)

    async def _run(
        self, state: client.State, started: start_records.Started | None, *, outputs: bool = True
    ) -> runs.Run:
        bound = self._workflows.bound(state.name)
        output: list[Any] | None = None
        end = state.end if outputs else None
        if bound is not None and end is not None and end.output is not None:
            output = await asyncio.to_thread(bound.plain_outputs, await self._owner(state), end.output)
        requests: tuple[runs.Pending, ...] = ()
        custom: dict[str, Any] | None = None
        if bound is not None and not state.ended:
            requests, custom = await self._says(bound, state)
        return runs.Run(
            id=state.id,
            workflow=self._workflows.name(state.name),
            status=state.status,
            created=state.created,
            updated=state.updated,
            output=output,
            failure=await self._failure(state) if outputs else state.failure,
            custom_status=custom,
            requests=requests,
            input_digest=b"" if started is None else started.digest,
        )

    async def _says(
        self, bound: hosted.Bound, state: client.State
    ) -> tuple[tuple[runs.Pending, ...], dict[str, Any] | None]:
        custom: dict[str, Any] | None = None
        requests: tuple[runs.Pending, ...] = ()
        status = _status(state)
        if status is not None and status.requests:
            owner = await self._owner(state)
            seen = bound.values_of(owner)
            # What is decided is open no more, whether the run has heard of it or not.
            decided = await self._decisions.made(owner, status.requests)
            left = [asked for asked in status.requests if wire.request_record(asked) not in decided]
            for name, heard in decided.items():
                await self._decisions.tell_again(owner, name, heard)
            requests = await asyncio.to_thread(shown.pending, bound, seen, left)
        if status is not None:
            custom = shown.progress(status)
        waiting = _waiting(bound, state)
        return requests, custom if waiting is None else {"waitingFor": waiting}

    async def _failure(self, state: client.State) -> protocol.Failure | None:
        if state.status != "Failed":
            return state.failure
        end = await ends.last(self._records, await self._owner(state))
        return state.failure if end is None else end.failure

    async def _told(self, bound: hosted.Bound, owner: str, found: Sequence[log.Event]) -> list[runs.Event]:
        def told() -> list[runs.Event]:
            read = [(event, bound.event(owner, event.data)) for event in found]
            return [runs.Event(event.id, type, event.time, data) for event, (type, data) in read]

        return await asyncio.to_thread(told) if found else []

    async def _seal(self, state: client.State, owner: str) -> None:
        """Close the log of a run that could not do so itself: it was ended from outside, or the engine gave it up."""
        if state.status == "Terminated":
            reason = "" if state.failure is None else state.failure.message
            ended = events.of("terminated", fields={"reason": reason})
            await self._log.seal(owner, state.updated, ended, state.tail[0])
        elif state.status == "Failed" and state.failure is not None and not await ends.last(self._records, owner):
            ended = events.failed("failed", 0, "", state.failure)
            await self._log.seal(owner, state.updated, ended, state.tail[0])

    async def _was_asked(self, bound: hosted.Bound, state: client.State, request_id: str) -> runs.Accepted:
        """Look through the events for a request that is not open: rare, and the events are the truth."""
        reader = self._log.reader(await self._owner(state))
        while page := await reader.read(log.AT_ONCE, *state.tail):
            if shown.has_asked(bound, (event.data for event in page), request_id):
                return "answered"
        return "unknown"

    def _fits(self, state: client.State, query: runs.Query) -> bool:
        known = self._workflows.orchestrations
        return (
            (state.name in known if query.workflow is None else state.name == naming.orchestration(query.workflow))
            and (not query.statuses or state.status in query.statuses)
            and (query.created_from is None or state.created >= query.created_from)
            and (query.created_to is None or state.created < query.created_to)
            and state.id.startswith(query.prefix)
            # An agent's sessions are orchestrations of its name.
            and not agents.is_session(state.id)
        )

    async def _owner(self, state: client.State) -> str:
        """Give who owns what a run keeps."""
        return await self._known_owner(state) or state.id

    async def _known_owner(self, state: client.State) -> str | None:
        """Give who owns what a run keeps; None for one that was started by hand and has not been at work to say so."""
        if state.owner is not None:
            return state.owner
        started = await self._starts.known(state)
        return None if started is None else started.owner(state.id)

    def _bound(self, state: client.State | None) -> hosted.Bound | None:
        return None if state is None else self._workflows.bound(state.name)


def _pending(run_id: str, workflow: str, started: start_records.Started) -> runs.Run:
    created = started.created
    return runs.Run(run_id, workflow, "Pending", created, created, input_digest=started.digest)


def _open(state: client.State, request_id: str) -> run_state.Request | None:
    status = None if state.ended else _status(state)
    return next((asked for asked in status.requests if asked.id == request_id), None) if status else None


def _withdrawal(request: run_state.Request) -> wire.Heard:
    which = run_state.Asked(request.id, request.superstep)
    return wire.Heard(orchestrator.WITHDRAWAL, orchestrator.encode_withdrawal((which,)), time.time())


def _status(state: client.State) -> orchestrator.RunStatus | None:
    said = state.said
    return None if said is None or said.value is None else orchestrator.decode_status(said.value)


def _waiting(bound: hosted.Bound, state: client.State) -> str | None:
    """Say what a run waits for that only another worker, or the store, can give."""
    said = state.said
    if said is None:
        return None
    missing = [name for name in said.awaited if name not in bound.activity_names]
    if missing:
        needed = ", ".join(map(repr, missing))
        return (
            f"Run {state.id!r} needs {needed}, which the workflow {bound.hosted.name!r} no longer has. "
            "It waits; start a worker with code that has it, or terminate the run."
        )
    return said.held or None
