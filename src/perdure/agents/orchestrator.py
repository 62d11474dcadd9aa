"""A session as an orchestration: turns in, one at a time to the agent, answers out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from perdure.agents import records
from perdure.workflow import protocol

RECENT: Final = 64
"""How many ended turns a session knows by heart. The rest it finds by their receipts: one that a sender could not
read yet when it looked is always among these."""


class SessionOrchestrator:
    """The sessions of one agent.

    Args:
        name: Durable name of the orchestration.
        activity: Durable name of the activity that runs the agent.
        release: Told the session's instance id when it has ended.
    """

    def __init__(self, name: str, activity: str, release: Callable[[str], None] = lambda session: None) -> None:
        self.name = name
        self._activity = activity
        self._release = release

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        """Run from the start; the first turn comes with it."""
        state = records.State(touched=host.now)
        if call:
            state = _hear(state, records.decode_turn(call), host.now)
        return (yield from self._live(host, state))

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        """Run from a state that was kept."""
        kept = records.decode_state(state)
        if kept.again:
            host.timer(_again(kept), kept.again)
        elif kept.running:
            self._schedule(host, kept)
        if kept.alarm:
            host.timer(_alarm(kept), kept.alarm)
        return (yield from self._live(host, kept))

    def decode(self, data: bytes) -> records.Result:
        """Read a recorded result."""
        return records.decode_result(data)

    def _live(self, host: protocol.Host, state: records.State) -> protocol.Steps:
        while True:
            state = _wound(host, self._next(host, state))
            host.status(records.encode(_status(state)))
            host.keep(_keeper(state))
            landed = yield
            if landed.kind in ("result", "failure"):
                state = _ended(host, state, landed)
            elif landed.kind == "timer" and landed.key == _again(state):
                state = msgspec.structs.replace(state, again=0.0)
                self._schedule(host, state)
            elif landed.kind == "timer":
                state = msgspec.structs.replace(state, alarm=0.0)
                if _expires(state) and landed.time >= _expires(state):
                    break
            elif landed.key == records.DELETE:
                if state.running:
                    host.cancel(_again(state) if state.again else _turn_key(state))
                break
            elif landed.key in (records.TURN, records.RESET):
                state = _hear(state, records.decode_turn(landed.value), landed.time)
        self._release(host.instance_id)
        return protocol.Ended(b"")

    def _next(self, host: protocol.Host, state: records.State) -> records.State:
        """Begin the first turn that waits, if the agent is free."""
        while state.queue and not state.running:
            if state.queue[0].reset:
                host.emit(records.encode(records.Told(records.RESET, state.queue[0].correlation_id)))
                self._release(host.instance_id)
                state = msgspec.structs.replace(
                    state, head=None, document=None, entries=0, queue=state.queue[1:], touched=host.now
                )
                continue
            state = msgspec.structs.replace(state, running=True, turns=state.turns + 1)
            self._schedule(host, state)
        return state

    def _schedule(self, host: protocol.Host, state: records.State) -> None:
        call = records.Call(state.queue[0], state.turns, state.head, state.document, state.entries, state.failed + 1)
        host.activity(_turn_key(state), self._activity, call)


def _hear(state: records.State, turn: records.Turn, now: float) -> records.State:
    """Put a turn in the queue, unless it is there already or was."""
    if turn.correlation_id in state.recent or any(turn.correlation_id == other.correlation_id for other in state.queue):
        return state
    turn = msgspec.structs.replace(turn, accepted=now)
    ttl = state.ttl if turn.reset else turn.ttl
    return msgspec.structs.replace(state, queue=(*state.queue, turn), ttl=ttl, touched=now)


def _ended(host: protocol.Host, state: records.State, landed: protocol.Landed) -> records.State:
    """Take in what a turn gave, and tell."""
    turn = state.queue[0]
    if landed.kind == "result" and landed.value.wait is not None:
        state = msgspec.structs.replace(state, failed=state.failed + 1, again=host.now + landed.value.wait)
        host.timer(_again(state), state.again)
        return state
    state = msgspec.structs.replace(state, queue=state.queue[1:], running=False, touched=landed.time, failed=0)
    if landed.kind == "failure":
        # The turn left no entry, so the same request may be sent again.
        host.emit(records.encode(records.Told("failed", turn.correlation_id, None, landed.value)))
        return state
    result: records.Result = landed.value
    host.emit(records.encode(records.Told("answered", turn.correlation_id, result.head)))
    recent = (*state.recent, turn.correlation_id)[-RECENT:]
    return msgspec.structs.replace(
        state, head=result.head, document=result.document, entries=state.entries + 1, recent=recent
    )


def _wound(host: protocol.Host, state: records.State) -> records.State:
    """Set the timer for the session's end, if one is needed: a turn moves the end and leaves the timer alone."""
    due = _expires(state)
    if not due or (state.alarm and state.alarm <= due):
        return state
    if state.alarm:
        host.cancel(_alarm(state))
    state = msgspec.structs.replace(state, alarm=due, alarms=state.alarms + 1)
    host.timer(_alarm(state), due)
    return state


def _expires(state: records.State) -> float:
    """When the session expires as things stand; 0 for never, and while there is something to do."""
    return state.touched + state.ttl if state.ttl > 0 and not state.queue else 0.0


def _status(state: records.State) -> records.Status:
    return records.Status(state.head, state.entries, len(state.queue), _expires(state))


def _turn_key(state: records.State) -> str:
    return f"turn-{state.turns}"


def _again(state: records.State) -> str:
    return f"again-{state.turns}-{state.failed}"


def _alarm(state: records.State) -> str:
    return f"expire-{state.alarms}"


def _keeper(state: records.State) -> Callable[[], bytes]:
    return lambda: records.encode(state)
