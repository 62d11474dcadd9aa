"""The steps of a superstep that are out: how each is tried, timed and tried again, decided by what landed."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.workflow import events, failures, policy, protocol

RETRY: Final = "retry"
TIMEOUT: Final = "timeout"


class Step:
    """A step that is out, or waits for its next attempt.

    Attributes:
        key: Its key; every attempt has the same, so that what it derives from it stays the same.
        name: Name of the activity.
        call: The activity's call.
        executor: Who runs.
        superstep: In which superstep.
        position: Its delivery's place in the superstep.
        rule: What holds for it.
        attempt: The present attempt, from 1.
    """

    __slots__ = ("attempt", "call", "executor", "key", "name", "position", "rule", "superstep")

    def __init__(
        self,
        key: str,
        name: str,
        call: Any,
        *,
        executor: str,
        superstep: int,
        position: int,
        rule: policy.Rule | None,
    ) -> None:
        self.key = key
        self.name = name
        self.call = call
        self.executor = executor
        self.superstep = superstep
        self.position = position
        self.rule = rule
        self.attempt = 0


class Settled(NamedTuple):
    """What a landing meant for a step: its result, its last failure, or neither where it goes on."""

    step: Step
    result: Any = None
    failure: protocol.Failure | None = None


def start(host: protocol.Host, step: Step) -> None:
    """Schedule a step's next attempt, and the timer that ends it."""
    step.attempt += 1
    host.activity(step.key, step.name, step.call)
    if step.rule is not None and step.rule.timeout:
        host.timer(f"{TIMEOUT}/{step.key}", host.now + step.rule.timeout)


def settle(host: protocol.Host, out: dict[str, Step], landed: protocol.Landed) -> Settled | None:
    """Take in a landing; a step that is over leaves ``out``. None if it concerns no step."""
    if landed.kind == "timer":
        kind, _, key = landed.key.partition("/")
        step = out.get(key)
        if step is None or kind not in (RETRY, TIMEOUT):
            return None
        if kind == RETRY:
            host.emit(
                events.of("executor_invoked", step.superstep, step.executor, fields={"attempt": step.attempt + 1})
            )
            start(host, step)
            return Settled(step)
        host.cancel(key)
        return _failed(host, out, step, late(step.executor, step.rule.timeout if step.rule is not None else 0.0))
    step = out.get(landed.key) if landed.kind in ("result", "failure") else None
    if step is None:
        return None
    if step.rule is not None and step.rule.timeout:
        host.cancel(f"{TIMEOUT}/{step.key}")
    if landed.kind == "failure":
        return _failed(host, out, step, landed.value)
    del out[step.key]
    return Settled(step, result=landed.value)


def _failed(host: protocol.Host, out: dict[str, Step], step: Step, failure: protocol.Failure) -> Settled:
    wait = policy.delay(step.rule, f"{host.instance_id}/{step.key}", step.attempt, failure)
    if wait is None or step.rule is None:
        del out[step.key]
        return Settled(step, failure=failure)
    fields = {
        "attempt": step.attempt,
        "attempts": step.rule.retry.attempts,
        "delaySeconds": round(wait, 3),
        "error": {"type": failure.type, "message": failure.message},
    }
    host.emit(events.of("executor_retry", step.superstep, step.executor, fields=fields))
    host.timer(f"{RETRY}/{step.key}", host.now + wait)
    return Settled(step)


def late(executor: str, seconds: float) -> protocol.Failure:
    """Say that an executor's time is over."""
    said = f"Executor {executor!r} did not finish within {seconds:g} s; it was cancelled."
    kinds = (failures.TRANSIENT, *(failures.name(kind) for kind in TimeoutError.__mro__[:-1]))
    return protocol.Failure("TimeoutError", said, kinds=kinds)
