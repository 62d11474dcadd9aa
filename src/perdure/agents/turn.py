"""One turn of a session: remember, run the agent, and write down what came of it."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from agent_framework import AgentResponse, AgentSession

from perdure import errors, tracebacks, tracing
from perdure.agents import callbacks, invocation, live, log, memory, naming, records, requests
from perdure.payloads import refs
from perdure.workflow import deltas, failures, policy, protocol, values

logger = logging.getLogger("perdure")


class Turns:
    """The activity that runs one agent.

    Args:
        name: The name that the agent is hosted under.
        copies: Makes a copy of the agent for a session.
        callback: Who is told of the answers.
        shelf: Codec and store.
        retry: When a turn that failed is tried again; None for the default.
        clock: Gives seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        copies: Callable[[str], Any],
        callback: callbacks.AgentResponseCallbackProtocol | None,
        shelf: values.Shelf,
        retry: policy.Retry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._copies = copies
        self._callback = callback
        self._shelf = shelf
        self._retry = retry
        self._clock = clock
        self._memories = memory.Memories()
        self.deltas: deltas.Deltas[live.Delta] = deltas.Deltas()

    def release(self, session: str) -> None:
        """Forget what is in memory of a session."""
        self._memories.release(session)

    async def __call__(self, instance_id: str, key: str, call: records.Call) -> protocol.Outcome:
        """Run one turn.

        What the agent raises is an answer too, and is recorded as one.

        Raises:
            PayloadMissing: If the request or the conversation is not in the store.
            CodecError: If they cannot be read any more.
        """
        run = values.RunValues(self._shelf, instance_id)
        if call.turn.request is None:
            raise errors.PayloadMissing(f"The turn {call.turn.correlation_id!r} has no request.")
        request = requests.of_value(run.decode(call.turn.request))
        agent = self._copies(instance_id)
        session_id = naming.session_key(instance_id)
        known = self._memories.take(instance_id, call.head, call.document)
        if known is None:
            known = memory.restore(run, _session(agent, session_id), call.head, call.document)
        context = callbacks.AgentCallbackContext(self._name, call.turn.correlation_id, session_id, request.text)
        turn = _Writing(run, call, request)
        try:
            with tracing.attached(call.turn.trace):
                timeout = None if call.turn.rule is None else call.turn.rule.timeout or None
                response = await invocation.run(
                    agent, request, known.session, self._listening(instance_id, call), context, timeout
                )
        except invocation.Broken as broken:
            error = broken.__cause__
            assert isinstance(error, Exception)
            wait = self._wait(instance_id, call, error, heard=broken.heard is not None)
            if wait is not None:
                return turn.again(wait)
            return turn.failed(broken.heard, error, known.lengths, self._clock())
        before = known.lengths
        try:
            outcome = turn.answered(response, known, self._clock())
        except errors.CodecError as error:
            return _Writing(run, call, request).failed(response, error, before, self._clock())
        self._memories.put(instance_id, known)
        return outcome

    def _listening(self, instance_id: str, call: records.Call) -> callbacks.AgentResponseCallbackProtocol | None:
        """Give who is told of the answer: with somebody to tell, the agent is asked for a stream."""
        if self._callback is None and not call.turn.stream:
            return None
        say = partial(self.deltas.say, (instance_id, call.turn.correlation_id))
        return live.Live(say, call.attempt, self._callback)

    def _wait(self, instance_id: str, call: records.Call, error: Exception, *, heard: bool) -> float | None:
        """Give how long to wait before the turn is tried again, in seconds; None if it is not."""
        policy.notice(self._retry, error)
        failure = tracebacks.failure(error)
        if not heard:
            failure = msgspec.structs.replace(failure, kinds=(*failure.kinds, failures.UNHEARD))
        wait = policy.delay(call.turn.rule, f"{instance_id}/{call.number}", call.attempt, failure)
        if wait is not None:
            told = (self._name, naming.session_key(instance_id), call.attempt, wait, failure.type, failure.message)
            logger.warning("Agent %r failed in session %r, attempt %d; once more in %.1f s: %s: %s", *told)
        return wait


class _Writing:
    """What a turn leaves behind, as it is put together."""

    def __init__(self, run: values.RunValues, call: records.Call, request: requests.Request) -> None:
        self._run = run
        self._call = call
        self._messages = log.Messages()
        self._asked = self._messages.places(request.messages)
        self._blobs: list[refs.Blob] = []

    def answered(self, response: AgentResponse[Any], known: memory.Memory, now: float) -> protocol.Outcome:
        answered = self._messages.places(response.messages)
        changes = known.changes(self._run, self._messages)
        document = known.encode(self._run, self._blobs)
        head = self._entry(answered, self._response(response), None, changes, now)
        known.head, known.document = head, document
        return self._outcome(head, document)

    def again(self, wait: float) -> protocol.Outcome:
        """Leave nothing: there is to be another attempt."""
        result = records.Result(self._call.head, self._call.document, wait)
        return protocol.Outcome(result, records.encode(result), [], self._run.owner)

    def failed(
        self, heard: AgentResponse[Any] | None, error: BaseException, lengths: dict[str, int], now: float
    ) -> protocol.Outcome:
        """Write down an error: it changes nothing of what the providers keep."""
        answered = () if heard is None else self._messages.places(heard.messages)
        response = None if heard is None else self._response(heard)
        failure = tracebacks.failure(error)
        head = self._entry(answered, response, failure, log.unchanged(lengths), now)
        return self._outcome(head, self._call.document)

    def _response(self, response: AgentResponse[Any]) -> refs.Ref:
        rest = copy.copy(response)
        rest.messages = []
        return self._run.encode(rest, self._blobs, where="the agent's response", inline_limit=log.WHOLE)

    def _entry(
        self,
        answered: tuple[int, ...],
        response: refs.Ref | None,
        failure: protocol.Failure | None,
        changes: dict[str, records.History],
        now: float,
    ) -> refs.Ref:
        call = self._call
        assert call.turn.request is not None
        messages = self._run.encode(
            self._messages.items, self._blobs, where="the messages of a turn", inline_limit=log.WHOLE
        )
        entry = records.Entry(
            call.head,
            call.entries + 1,
            call.turn.correlation_id,
            records.request_digest(call.turn.request),
            call.turn.accepted,
            now,
            messages,
            self._asked,
            answered,
            response,
            failure,
            changes,
        )
        item = refs.blob(records.encode(entry))
        self._blobs.append(item)
        return refs.stored(item)

    def _outcome(self, head: refs.Ref, document: refs.Ref | None) -> protocol.Outcome:
        run, call = self._run, self._call
        run.remember(self._blobs)
        named = refs.Blob(records.receipt(run.owner, call.turn.correlation_id), records.encode_ref(head))
        result = records.Result(head, document)
        return protocol.Outcome(result, records.encode(result), [*self._blobs, named], run.owner)


def _session(agent: Any, session_id: str) -> AgentSession:
    make = getattr(agent, "create_session", None)
    session = make(session_id=session_id) if make is not None else None
    return session if isinstance(session, AgentSession) else AgentSession(session_id=session_id)
