"""What the actions of an orchestrator come to: pure, with the scheduling of the Durable extension.

The extension awaits an orchestrator's actions one after another: an action is scheduled only when those before
it have completed, and what it schedules is numbered in that order. The SDK numbers the same things in the order
in which the code yielded them. Both go over the same history, so an orchestrator works here where it works there.
"""

from __future__ import annotations

import collections
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from perdure.hosts.local.functions import actions, history, promises, sdk, steps
from perdure.hosts.local.functions.actions import Type
from perdure.hosts.local.functions.history import Kind

HTTP_POLL_SECONDS = 30.0


class NotDeterministic(Exception):
    """An orchestrator does something else than when it first ran."""


class Plan(msgspec.Struct, frozen=True):
    """What follows from a history and the actions of the code run over it.

    Attributes:
        new: What is to be scheduled now, in order.
        cancelled: Numbers of the timers that the code took back.
        complete: Whether every action has completed.
        restart: The input to continue with as new, if it is to.
        stalled: In words, what the code waits for and what holds that up; empty if it is not held up.
        dropped: Names of events that came and that nobody took.
    """

    new: Sequence[steps.Step] = ()
    cancelled: Sequence[int] = ()
    complete: bool = False
    restart: tuple[str | None] | None = None
    stalled: str = ""
    dropped: Sequence[str] = ()


Known = Callable[[Literal["activity", "orchestrator", "entity"], str], str]
"""Gives the exact name of a function by its name in any case; raises LookupError if there is none."""


def walk(decision: sdk.Decision, events: Sequence[history.Event], seed: str, known: Known) -> Walk:
    """Go over a history with an orchestrator's actions.

    Args:
        decision: What the code answered.
        events: The history that it was run over.
        seed: Names the execution: what ids of messages are derived from.
        known: Finds functions.

    Raises:
        NotDeterministic: If a step is not what it was when it was recorded.
        LookupError: If a function that is called is not there.
    """
    found = Walk(decision, seed, known)
    for item in events:
        found.take(item)
    return found


_SCHEDULED: Mapping[int, frozenset[str]] = {
    Kind.TASK_SCHEDULED: frozenset({"activity"}),
    Kind.CHILD_CREATED: frozenset({"child"}),
    Kind.TIMER_CREATED: frozenset({"timer"}),
    Kind.EVENT_SENT: frozenset({"call", "signal"}),
}
_WAS = {
    Kind.TASK_SCHEDULED: "activity",
    Kind.CHILD_CREATED: "sub-orchestration",
    Kind.TIMER_CREATED: "a timer",
    Kind.EVENT_SENT: "a message to entity",
}
_LANDED: Mapping[int, str] = {
    Kind.TASK_COMPLETED: "TaskScheduledId",
    Kind.TASK_FAILED: "TaskScheduledId",
    Kind.CHILD_COMPLETED: "TaskScheduledId",
    Kind.CHILD_FAILED: "TaskScheduledId",
    Kind.TIMER_FIRED: "TimerId",
}


class Walk:
    """How far a history has brought an orchestrator's actions."""

    def __init__(self, decision: sdk.Decision, seed: str, known: Known) -> None:
        self._decision = decision
        self._seed = seed
        self._known = known
        self._steps: list[steps.Step] = []
        self._recorded: set[int] = set()
        self._cancelled: list[int] = []
        self._open: dict[int, promises.Promise] = {}
        self._waiting: dict[str, list[promises.Promise]] = {}
        self._early: dict[str, collections.deque[str | None]] = {}
        self._now = 0.0
        self._at = 0
        self._asked_by: list[int] = []
        self._failed: set[int] = set()
        self._again: set[int] = set()
        self._restart: tuple[str | None] | None = None
        self._end: promises.Promise | None = None

    def take(self, item: history.Event) -> None:
        """Go on with an event."""
        kind = item["EventType"]
        if kind == Kind.ORCHESTRATOR_STARTED:
            self._now = max(self._now, history.seconds(item["Timestamp"]))
        elif kind == Kind.EXECUTION_STARTED:
            self._end = promises.run(self._one_by_one() if self._decision.schema else self._sets())
        elif kind in _SCHEDULED:
            self._check(item)
        elif kind == Kind.EVENT_RAISED:
            self._raise(item["Name"], item["Input"])
        elif kind in _LANDED:
            number = item[_LANDED[kind]]
            failed = kind in (Kind.TASK_FAILED, Kind.CHILD_FAILED)
            if failed:
                self._failed.add(number)
            found = self._open.pop(number, None)
            if found is not None:
                found.settle(item.get("Result"), failed=failed)

    def unmoved(self, items: Sequence[history.Event]) -> bool:
        """Go on with what has landed; says whether the code need not be run, for it still waits for the rest.

        That is so for a success of something that the last of the actions asked for, while that action has not
        completed: what the code waits for is that action, perhaps with more that was asked for before.
        """
        count, last = len(self._steps), len(self._decision.actions[0]) - 1
        if not self._decision.schema or self._at != last:
            return False
        for item in items:
            kind = item["EventType"]
            if kind not in (Kind.ORCHESTRATOR_STARTED, Kind.TASK_COMPLETED, Kind.CHILD_COMPLETED, Kind.TIMER_FIRED):
                return False
            if kind in _LANDED and self._asked_by[item[_LANDED[kind]]] != last:
                return False
            self.take(item)
        return len(self._steps) == count and not self._complete

    def plan(self) -> Plan:
        """Give what follows."""
        complete = self._complete
        return Plan(
            new=[step for step in self._steps if step.id not in self._recorded],
            cancelled=self._cancelled,
            complete=complete,
            restart=self._restart,
            stalled="" if complete else self._stalled(),
            dropped=[name for name, queue in self._early.items() for _ in queue],
        )

    def undone(self) -> set[int]:
        """Give the numbers of the steps that a rewind does again: what failed of the last action, and its retries."""
        last = [number for number, asked_by in enumerate(self._asked_by) if asked_by == self._at]
        return {number for number in last if number in self._failed or number in self._again}

    @property
    def _complete(self) -> bool:
        return self._end is not None and self._end.done

    def _check(self, item: history.Event) -> None:
        number, kind = item["EventId"], item["EventType"]
        was = f"{_WAS[kind]} {item['Name']!r}" if item.get("Name") and kind != Kind.EVENT_SENT else _WAS[kind]
        if kind == Kind.EVENT_SENT:
            was = f"{_WAS[kind]} {item['InstanceId']!r}"
        if number >= len(self._steps):
            raise NotDeterministic(f"step {number + 1} was {was} when it first ran, and is not there any more")
        step = self._steps[number]
        name = item["InstanceId"] if kind == Kind.EVENT_SENT else item.get("Name", "")
        if step.kind not in _SCHEDULED[kind] or step.name != name:
            raise NotDeterministic(f"step {number + 1} was {was} when it first ran, and is {step.told()} now")
        self._recorded.add(number)

    # The order of actions.

    def _one_by_one(self) -> promises.Body:
        for place, action in enumerate(self._decision.actions[0]):
            self._at = place
            yield self._invoke(action)
        return promises.Promise(done=True)

    def _sets(self) -> promises.Body:
        for together in self._decision.actions:
            parts = [part for action in together if not (part := self._invoke(action)).done]
            if parts:
                yield promises.any_of(parts)
        return promises.Promise(done=True)

    def _stalled(self) -> str:
        """Say what holds up the code, if it has gone on to something that the order of actions keeps back."""
        if not self._decision.schema:
            return ""
        asked = self._decision.actions[0]
        ended = self._decision.done or self._decision.error is not None
        if self._at + 1 >= len(asked) and not ended:
            return ""
        after = "its end" if self._at + 1 >= len(asked) else actions.told(asked[self._at + 1])
        return f"{after} comes only after {actions.told(asked[self._at])}"

    # Actions.

    def _invoke(self, action: actions.Action) -> promises.Promise:
        match action["actionType"]:
            case Type.ACTIVITY:
                return self._activity(action)
            case Type.RETRIED_ACTIVITY:
                return promises.run(self._retried(lambda: self._activity(action), action["retryOptions"]))
            case Type.CHILD:
                return self._child(action)
            case Type.RETRIED_CHILD:
                return promises.run(self._retried(lambda: self._child(action), action["retryOptions"]))
            case Type.CONTINUE_AS_NEW:
                self._restart = (action.get("input"),)
                return promises.Promise(done=True)
            case Type.TIMER:
                return self._timer(history.seconds(action["fireAt"]), cancelled=action.get("isCanceled", False))
            case Type.EVENT:
                return self._event(action["externalEventName"])
            case Type.ENTITY_CALL:
                return self._entity(action, "call")
            case Type.HTTP:
                return promises.run(self._http(action["httpRequest"]))
            case Type.ENTITY_SIGNAL:
                self._entity(action, "signal")
                return promises.Promise(done=True)
            case Type.ANY:
                return promises.any_of([self._invoke(part) for part in action["compoundActions"]])
            case Type.ALL:
                return promises.all_of([self._invoke(part) for part in action["compoundActions"]])
            case other:
                raise LookupError(f"The SDK asked for an action of type {other!r}, which this host does not know.")

    def _schedule(self, kind: steps.StepKind, **fields: Any) -> promises.Promise:
        step = steps.Step(len(self._steps), kind, **fields)
        self._steps.append(step)
        self._asked_by.append(self._at)
        promise = self._open[step.id] = promises.Promise()
        return promise

    def _activity(self, action: actions.Action) -> promises.Promise:
        name = self._known("activity", action["functionName"])
        return self._schedule("activity", name=name, input=action.get("input"))

    def _child(self, action: actions.Action) -> promises.Promise:
        name = self._known("orchestrator", action["functionName"])
        child_id = action.get("instanceId") or ""
        if child_id.startswith("@"):
            raise LookupError(f"A sub-orchestration's instance id must not start with '@': {child_id!r}.")
        return self._schedule("child", name=name, input=action.get("input"), child_id=child_id)

    def _timer(self, fire_at: float, *, cancelled: bool = False) -> promises.Promise:
        promise = self._schedule("timer", fire_at=fire_at)
        if cancelled:
            number = len(self._steps) - 1
            self._cancelled.append(number)
            del self._open[number]
            promise.settle(failed=True)
        return promise

    def _event(self, name: str) -> promises.Promise:
        promise = promises.Promise()
        early = self._early.get(name.casefold())
        if early:
            promise.settle(early.popleft())
        else:
            self._waiting.setdefault(name.casefold(), []).append(promise)
        return promise

    def _raise(self, name: str, value: str | None) -> None:
        waiting = self._waiting.get(name.casefold())
        if waiting:
            # The newest wait first, as there: a wait that was given up must not swallow the event.
            waiting.pop().settle(value)
        else:
            self._early.setdefault(name.casefold(), collections.deque()).append(value)

    def _entity(self, action: actions.Action, kind: Literal["call", "signal"]) -> promises.Promise:
        target: str = action["instanceId"]
        name, key = steps.entity_of(target)
        self._known("entity", name)
        request = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._seed}/{len(self._steps)}"))
        operation = action.get("operation") or ""
        self._schedule(
            kind,
            name=f"@{name.lower()}@{key}",
            # The SDK reads an entity's input as JSON text in JSON text.
            input=json.dumps(action.get("input")),
            operation=operation,
            request=request,
        )
        return self._event(request) if kind == "call" else promises.Promise(done=True)

    def _retried(self, schedule: Callable[[], promises.Promise], options: Mapping[str, Any]) -> promises.Body:
        interval = options["firstRetryIntervalInMilliseconds"] / 1000
        tried = promises.Promise(done=True)
        for attempt in range(options["maxNumberOfAttempts"]):
            if attempt:
                self._again.add(len(self._steps))
            tried = schedule()
            yield tried
            if not tried.failed:
                break
            # One more than there are attempts, as there and in the SDK.
            self._again.add(len(self._steps))
            yield self._timer(self._now + interval)
        return tried

    def _http(self, request: Mapping[str, Any]) -> promises.Body:
        """Poll what answers 202, as there; the SDK has gone on with the first answer meanwhile."""
        answer = self._schedule("activity", name=steps.HTTP_ACTIVITY, input=json.dumps(request))
        yield answer
        while (location := _location(answer)) is not None:
            yield self._timer(self._now + location[1])
            headers = {name: value for name, value in (request.get("headers") or {}).items() if not _is_key(name)}
            follow = {
                "method": "GET",
                "uri": location[0],
                "headers": headers,
                "tokenSource": request.get("tokenSource"),
            }
            answer = self._schedule("activity", name=steps.HTTP_ACTIVITY, input=json.dumps(follow))
            yield answer
        return answer


def _location(answer: promises.Promise) -> tuple[str, float] | None:
    """Give where to ask again and after how many seconds, if an HTTP answer says so."""
    if answer.failed or answer.value is None:
        return None
    response = json.loads(answer.value)
    headers = {name.casefold(): value for name, value in response["headers"].items()}
    if response["statusCode"] != 202 or "location" not in headers:
        return None
    after = headers.get("retry-after", "")
    return headers["location"], float(after) if after.isdigit() else HTTP_POLL_SECONDS


def _is_key(header: str) -> bool:
    return header.casefold() == "x-functions-key"
