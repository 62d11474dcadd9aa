"""Requests that nobody answers in time: a timer for each, then the answer that was set for it, or an escalation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from perdure.payloads import refs
from perdure.workflow import events, policy, protocol, run_state

DEADLINE: Final = "deadline"
EXPIRED: Final = "expired"

Name = Callable[[str], str]
"""Gives the durable name of an executor's activity."""


class Expiry(msgspec.Struct, frozen=True, array_like=True):
    """The call of an activity that gives the answer to a request whose deadline has passed."""

    request: run_state.Request


class Given(NamedTuple):
    """What becomes of a request after its deadline has passed.

    Attributes:
        request: The request.
        answer: Its answer; None if it was withdrawn.
        told: Whether somebody was accepted with that answer before the deadline gave one.
    """

    request: str
    answer: run_state.Answer | None = None
    told: bool = False


def answered(message: refs.Ref, *, told: bool) -> run_state.StepResult:
    """Give the result of an expiry whose request has its answer: from somebody, or from an earlier attempt."""
    return run_state.StepResult((run_state.Sent(message),), told=told)


def withdrawn_before(request: run_state.Request) -> run_state.StepResult:
    """Give the result of an expiry whose request somebody had withdrawn."""
    return run_state.StepResult(withdrawn=(request.id,))


def opened(
    host: protocol.Host, policies: policy.Policies, state: run_state.RunState, result: run_state.StepResult
) -> run_state.StepResult:
    """Start the clocks of the requests of a result; gives the result with their deadlines."""
    if not result.requests or not policies.deadlines:
        return result
    before = {request.id: request for request in state.requests}
    found: list[run_state.Request] = []
    for request in result.requests:
        seconds = policies.expires_after(request)
        if request.id in before:
            closed(host, before[request.id])
        due = 0.0 if seconds is None else host.now + seconds
        if due:
            host.timer(f"{DEADLINE}/{request.id}", due)
        found.append(msgspec.structs.replace(request, deadline=due))
    return msgspec.structs.replace(result, requests=tuple(found))


def closed(host: protocol.Host, request: run_state.Request) -> None:
    """Stop the clock of a request; what an escalation says from here on, another under its id does not hear."""
    if request.deadline:
        host.cancel(f"{DEADLINE}/{request.id}")
    else:
        host.cancel(f"{EXPIRED}/{request.id}")


def withdrawn(host: protocol.Host, state: run_state.RunState, result: run_state.StepResult) -> None:
    """Stop the clocks of requests that a result says need no answer any more."""
    for request in state.requests:
        if request.id in result.withdrawn:
            closed(host, request)
            fields = {"requestId": request.id}
            host.emit(events.of("request_withdrawn", state.superstep, request.executor, fields=fields))


def resume(host: protocol.Host, state: run_state.RunState, name: Name) -> None:
    """Start again the clocks that ran, and the activities that were out, when the state was kept."""
    for request in state.requests:
        if request.id in state.expired:
            host.activity(f"{EXPIRED}/{request.id}", name(request.executor), Expiry(request))
        elif request.deadline:
            host.timer(f"{DEADLINE}/{request.id}", request.deadline)


def passed(
    host: protocol.Host, state: run_state.RunState, landed: protocol.Landed, name: Name
) -> tuple[run_state.RunState, Given | None]:
    """Take in a landing; gives what becomes of a request now. What concerns no open request changes nothing."""
    kind, _, request_id = landed.key.partition("/")
    request = next((asked for asked in state.requests if asked.id == request_id), None)
    if request is None:
        return state, None
    if kind == DEADLINE and landed.kind == "timer":
        host.emit(events.of("request_expired", state.superstep, request.executor, fields={"requestId": request.id}))
        host.activity(f"{EXPIRED}/{request.id}", name(request.executor), Expiry(request))
        return run_state.expire(state, request), None
    if kind != EXPIRED:
        return state, None
    state = run_state.expire(state, request, over=True)
    if landed.kind == "failure":
        said = f"The deadline of the request passed, but its answer could not be had: {landed.value.message}"
        fields = {"data": said, "code": "deadline", "requestId": request.id}
        host.emit(events.of("warning", state.superstep, request.executor, fields=fields))
        return state, None
    result: run_state.StepResult = landed.value
    if not result.messages:
        return state, Given(request.id) if result.withdrawn else None
    return state, Given(request.id, run_state.Answer(request.id, result.messages[0].ref), result.told)
