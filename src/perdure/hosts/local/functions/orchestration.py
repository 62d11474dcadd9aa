"""A hand-written orchestrator function as an orchestration of the engine."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Container, Mapping, Sequence
from typing import Any

import msgspec

from perdure import tracebacks
from perdure.hosts.local.functions import entities, history, sdk, shim, steps, workflows
from perdure.hosts.local.functions.history import Kind
from perdure.workflow import protocol

SUSPEND = "$perdure.suspend"
RESUME = "$perdure.resume"
REWIND = "$perdure.rewind"
"""Events that are not the user's: HTTP refuses names that start so."""
RESERVED_PREFIX = "$perdure."

CLEAR_ACTIVITY = "@clear"
_CLEARING = "!"

log = logging.getLogger("perdure.functions")


class Start(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an orchestration is started with.

    Attributes:
        input: Plain JSON, as it came.
        parent: The id of the instance that started it.
    """

    input: Any = None
    parent: str = ""


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an orchestration shows of itself while it lives.

    Attributes:
        custom: What its code set, plain JSON.
        suspended: Whether it is.
        started: The id of the event that tells of the start of this execution.
    """

    custom: Any = None
    suspended: bool = False
    started: int = 1


class _Held(msgspec.Struct, frozen=True, array_like=True):
    """A landing that came while the orchestration was suspended."""

    kind: str
    key: str
    value: Any
    time: float


class _Past(msgspec.Struct):
    """All that a running orchestration knows; what is kept to resume from.

    Attributes:
        input: The input of this execution.
        parent: The id of the instance that started it.
        generation: How often it has continued as new.
        events: The history of this execution.
        open: What was scheduled and has not landed, by key.
        status: What it shows of itself.
        held: What came while it was suspended.
        ending: How it ends once its signals are delivered.
        told: How many events it has emitted.
        redone: Numbers of the steps that a rewind does again.
    """

    input: Any
    parent: str
    generation: int = 0
    events: list[history.Event] = []
    open: dict[str, steps.Step] = {}
    status: Status = Status()
    held: list[_Held] = []
    ending: protocol.Ended | None = None
    told: int = 0
    redone: set[int] = set()


class FunctionOrchestrator:
    """Hosts one orchestrator function.

    Args:
        name: Its durable name.
        handle: The SDK's handler of it.
        known: Finds the functions it may call.
        flows: The durable names of workflows.
    """

    def __init__(self, name: str, handle: sdk.Handle, known: shim.Known, flows: Container[str] = ()) -> None:
        self.name = name
        self._handle = handle
        self._known = known
        self._flows = flows

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        """Run from the start."""
        start = msgspec.json.decode(call, type=Start)
        past = _Past(start.input, start.parent)
        return _Running(self.name, self._handle, self._known, self._flows, host, past).begin()

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        """Go on from a kept state."""
        past = msgspec.msgpack.decode(state, type=_Past)
        return _Running(self.name, self._handle, self._known, self._flows, host, past).resume()

    def decode(self, data: bytes) -> Any:
        """Give a recorded result: JSON text."""
        return data.decode()


class _Running:
    """One orchestration as it runs."""

    def __init__(
        self,
        name: str,
        handle: sdk.Handle,
        known: shim.Known,
        flows: Container[str],
        host: protocol.Host,
        past: _Past,
    ) -> None:
        self._name = name
        self._handle = handle
        self._known = known
        self._flows = flows
        self._host = host
        self._past = past
        self._reported = ""
        self._walk: shim.Walk | None = None

    def begin(self) -> protocol.Steps:
        past = self._past
        past.ending = self._episode([self._started()])
        return (yield from self._go_on())

    def resume(self) -> protocol.Steps:
        for key, step in self._past.open.items():
            if _clearing(key) not in self._past.open:
                self._schedule(key, step)
        return (yield from self._go_on())

    def _go_on(self) -> protocol.Steps:
        past = self._past
        # What is sent to entities leaves with the orchestration's last turn on Azure; here it is waited for.
        while past.ending is None or any(step.kind == "signal" for step in past.open.values()):
            self._keep()
            landed = yield
            try:
                came = self._landed(landed)
            except shim.NotDeterministic as error:
                return self._not_deterministic(error)
            if came and past.ending is None:
                past.ending = self._episode(came)
        return past.ending

    def _keep(self) -> None:
        past = self._past
        count, held = len(past.events), len(past.held)
        events, waiting = past.events, past.held
        copy = msgspec.structs.replace(past, open=dict(past.open))

        def state() -> bytes:
            copy.events, copy.held = events[:count], waiting[:held]
            return msgspec.msgpack.encode(copy)

        self._host.keep(state)

    # What lands.

    def _landed(self, landed: protocol.Landed) -> list[history.Event]:
        """Give the history events of a landing, and of those held back if it resumes the orchestration."""
        past = self._past
        if landed.kind == "event" and landed.key in (SUSPEND, RESUME):
            return self._switched(landed)
        if landed.kind == "event" and landed.key == REWIND:
            return [history.event(Kind.GENERIC, landed.time, Data="Rewound")]
        if past.status.suspended:
            if landed.kind == "event" or landed.key in past.open:
                past.held = [*past.held, _held(landed)]
            return []
        return self._events(_held(landed))

    def _switched(self, landed: protocol.Landed) -> list[history.Event]:
        past, suspend = self._past, landed.key == SUSPEND
        if suspend == past.status.suspended:
            return []
        reason = landed.value.decode()
        kind = Kind.SUSPENDED if suspend else Kind.RESUMED
        switched = history.event(kind, landed.time, Reason=reason)
        self._show(suspended=suspend)
        if suspend:
            self._record(switched)
            return []
        held, past.held = past.held, []
        return [switched, *(item for each in held for item in self._events(each))]

    def _events(self, landed: _Held) -> list[history.Event]:
        past = self._past
        if landed.kind == "event":
            return [history.event(Kind.EVENT_RAISED, landed.time, Name=landed.key, Input=landed.value)]
        step = past.open.pop(landed.key, None)
        if step is not None and step.kind == "clear":
            key = landed.key.removesuffix(_CLEARING)
            if key in past.open:
                self._schedule(key, past.open[key])
            return []
        if not landed.key.startswith(f"{past.generation}.") or (step is not None and step.kind == "signal"):
            return []
        if step is None:
            raise self._differs(landed.key)
        return [steps.landed(step, landed.kind, landed.value, landed.time)]

    def _differs(self, key: str) -> shim.NotDeterministic:
        """Say what the code of today does instead of the step that something has landed of."""
        number, _, was = key.partition(" ")
        now = next((step.told() for each, step in self._past.open.items() if each.startswith(f"{number} ")), "")
        told = f"is {now} now" if now else "is not there any more"
        step = int(number.partition(".")[2]) + 1
        return shim.NotDeterministic(f"step {step} was {was} when it first ran, and {told}")

    # Running the code.

    def _episode(self, came: Sequence[history.Event]) -> protocol.Ended | None:
        """Run the code over what has come; gives how it ended, if it did."""
        while True:
            started = self._begin_episode(came)
            if self._walk is not None and self._walk.unmoved([started, *came]):
                self._record(history.event(Kind.ORCHESTRATOR_COMPLETED, self._host.now))
                return None
            self._walk = None
            decision = sdk.decide(self._handle, self._context())
            seed = f"{self._host.instance_id}/{self._past.generation}"
            try:
                walk = shim.walk(decision, self._past.events, seed, self._known)
            except shim.NotDeterministic as error:
                return self._not_deterministic(error)
            except LookupError as error:
                return self._failed(f"Orchestrator function {self._name!r} failed: {error.args[0]}", "")
            plan = walk.plan()
            self._carry_out(plan, decision)
            self._record(history.event(Kind.ORCHESTRATOR_COMPLETED, self._host.now))
            if not plan.complete:
                self._tell(plan)
                self._walk = walk
                return None
            if decision.error is not None:
                told = f"Orchestrator function {self._name!r} failed: {decision.error}"
                return self._failed(told, decision.detail, walk.undone())
            if not decision.done:
                return None
            if plan.restart is None:
                return self._completed(decision.output)
            came = [self._restarted(plan, plan.restart[0])]

    def _begin_episode(self, came: Sequence[history.Event]) -> history.Event:
        started = history.event(Kind.ORCHESTRATOR_STARTED, self._host.now)
        for item in (started, *came):
            self._record(item)
        return started

    def _context(self) -> Mapping[str, Any]:
        events = self._past.events
        episodes = sum(item["EventType"] == Kind.ORCHESTRATOR_STARTED for item in events)
        return {
            "history": history.played(events),
            "input": self._past.input,
            "instanceId": self._host.instance_id,
            "isReplaying": episodes > 1,
            "parentInstanceId": self._past.parent or None,
            "upperSchemaVersion": sdk.SCHEMA_V2,
            "upperSchemaVersionNew": sdk.SCHEMA_V3,
            "defaultHttpAsyncRequestSleepTimeMillseconds": int(shim.HTTP_POLL_SECONDS * 1000),
        }

    def _carry_out(self, plan: shim.Plan, decision: sdk.Decision) -> None:
        past = self._past
        for step in plan.new:
            # With its name in the key, a result is not taken for that of another step when the code has changed.
            key = f"{past.generation}.{step.id} {step.told()}"
            clear = step.kind == "child" and (bool(step.child_id) or step.id in past.redone)
            if step.kind == "child" and not step.child_id:
                step = msgspec.structs.replace(step, child_id=f"{self._execution()}:{step.id}")  # noqa: PLW2901
            self._record(steps.scheduled(step, self._host.now))
            past.open[key] = step
            if clear:
                # Its id may be that of an ended instance, such as an attempt before this one.
                key, step = _clearing(key), msgspec.structs.replace(step, kind="clear")  # noqa: PLW2901
                past.open[key] = step
            self._schedule(key, step)
        for number in plan.cancelled:
            start = f"{past.generation}.{number} "
            for key in [key for key in past.open if key.startswith(start)]:
                del past.open[key]
                self._host.cancel(key)
        self._show(custom=decision.custom_status)

    def _schedule(self, key: str, step: steps.Step) -> None:
        if step.kind == "timer":
            self._host.timer(key, step.fire_at)
        elif step.kind == "child" and step.name in self._flows:
            self._host.activity(key, workflows.ACTIVITY, step)
        elif step.kind == "child":
            text = Start(step.input, self._host.instance_id)
            self._host.child(key, step.name, step.child_id, msgspec.json.encode(text))
        elif step.kind == "activity":
            self._host.activity(key, step.name, step)
        elif step.kind == "clear":
            self._host.activity(key, CLEAR_ACTIVITY, step)
        else:
            self._host.activity(key, entities.ACTIVITY, step)

    def _restarted(self, plan: shim.Plan, value: str | None) -> history.Event:
        past = self._past
        if plan.dropped:
            log.warning(
                "Orchestration %r (%s) continued as new before it took the event%s %s: dropped, as on Azure.",
                self._host.instance_id,
                self._name,
                "s" if len(plan.dropped) > 1 else "",
                ", ".join(repr(name) for name in plan.dropped),
            )
        for key, step in list(past.open.items()):
            # Activities and sub-orchestrations of the execution before go on to their end; nobody takes what they give.
            if step.kind == "timer":
                self._host.cancel(key)
            if step.kind != "signal":
                del past.open[key]
        self._record(history.event(Kind.CONTINUE_AS_NEW, self._host.now, Result=value))
        past.events = []
        past.generation += 1
        past.input = value
        self._show(started=past.told + 1)
        return self._started()

    def _started(self) -> history.Event:
        text = json.dumps(self._past.input)
        now = self._host.now
        return history.event(Kind.EXECUTION_STARTED, now, Name=self._name, Input=text, Version=None)

    def _completed(self, output: Any) -> protocol.Ended:
        text = json.dumps(output)
        now = self._host.now
        self._record(history.event(Kind.EXECUTION_COMPLETED, now, OrchestrationStatus="Completed", Result=text))
        return protocol.Ended(text.encode())

    def _not_deterministic(self, error: shim.NotDeterministic) -> protocol.Ended:
        return self._failed(
            f"Non-Deterministic workflow detected: {error}. The code has changed since, or does something else each "
            "time: no clock, random number, environment or input and output in an orchestrator.",
            "",
        )

    def _failed(self, told: str, detail: str, undone: set[int] | None = None) -> protocol.Ended:
        """End as failed, leaving a state to go on from once what was wrong is mended."""
        now = self._host.now
        self._record(history.event(Kind.EXECUTION_COMPLETED, now, OrchestrationStatus="Failed", Result=told))
        past, numbers = self._past, undone or set()
        left = {key: step for key, step in past.open.items() if step.id not in numbers}
        events = history.without(past.events, numbers)
        again = msgspec.structs.replace(past, events=events, open=left, redone=numbers)
        failure = protocol.Failure(steps.FAILURE, told, detail)
        return protocol.Ended(failure=failure, state=msgspec.msgpack.encode(again))

    def _record(self, item: history.Event) -> None:
        self._past.events.append(item)
        if item["EventType"] not in (Kind.ORCHESTRATOR_STARTED, Kind.ORCHESTRATOR_COMPLETED):
            self._past.told += 1
            self._host.emit(msgspec.json.encode(item))

    def _show(self, **changes: Any) -> None:
        status = msgspec.structs.replace(self._past.status, **changes)
        if status != self._past.status:
            self._past.status = status
            self._host.status(msgspec.json.encode(status))

    def _tell(self, plan: shim.Plan) -> None:
        if plan.stalled and plan.stalled != self._reported:
            log.warning(
                "Orchestration %r (%s) is held up: %s, which an earlier yield named and which has not completed. "
                "What is yielded is awaited in that order, here and on Azure, so this may hang. Give a task_any or "
                "task_all tasks that are all new, or that have all been yielded before.",
                self._host.instance_id,
                self._name,
                plan.stalled,
            )
        self._reported = plan.stalled

    def _execution(self) -> str:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self._host.instance_id}/{self._past.generation}").hex


def _clearing(key: str) -> str:
    return key + _CLEARING


def _held(landed: protocol.Landed) -> _Held:
    value = landed.value
    if isinstance(value, bytes):
        value = value.decode()
    elif isinstance(value, protocol.Failure):
        # Its last link is the host's own words on it, which are the message.
        value = (value.message, value.detail.rpartition(tracebacks.CAUSED)[0].rstrip() or value.detail)
    return _Held(landed.kind, landed.key, value, landed.time)
