"""What real runs did to the engine and to Blob Storage, written down as they did it.

One trace is one run. On Durable Functions it is taken from what the official SDK is given and answers in each episode,
on a scheduler from the work items that the backend hands out. Both give the same kinds of things, so that one can be
priced as the other.
"""

from __future__ import annotations

import collections
import json
from dataclasses import dataclass, field
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as messages
from google.protobuf import json_format

from perdure.hosts.local.functions import history

LARGE_FIELD_CHARACTERS = 30 * 1024
"""A longer text of the history does not stand in its row: DurableTask.AzureStorage, MaxTablePropertySizeInBytes."""

Kind = history.Kind
HEARD = {
    Kind.EXECUTION_STARTED: "start",
    Kind.TASK_COMPLETED: "result",
    Kind.TASK_FAILED: "result",
    Kind.CHILD_COMPLETED: "child result",
    Kind.CHILD_FAILED: "child result",
    Kind.TIMER_FIRED: "timer",
    Kind.EVENT_RAISED: "event",
}
ASKED = {
    Kind.TASK_SCHEDULED: "activity",
    Kind.CHILD_CREATED: "child",
    Kind.TIMER_CREATED: "timer",
    Kind.EVENT_SENT: "entity",
}
_HEARD_FIELDS = {
    "executionStarted": "start",
    "taskCompleted": "result",
    "taskFailed": "result",
    "subOrchestrationInstanceCompleted": "child result",
    "subOrchestrationInstanceFailed": "child result",
    "timerFired": "timer",
    "eventRaised": "event",
    "entityOperationCompleted": "entity result",
    "entityOperationFailed": "entity result",
}
_ASKED_FIELDS = {
    "scheduleTask": "activity",
    "createSubOrchestration": "child",
    "createTimer": "timer",
    "sendEntityMessage": "entity",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message to an orchestration, or from it: what it is and how long its text is."""

    kind: str
    size: int = 0


@dataclass(slots=True)
class Episode:
    """One run over the history.

    Attributes:
        rows: Rows of history before it.
        large: How many texts among them do not stand in their rows.
        bytes: Length of the texts among them.
        heard: What it was run for.
        asked: What it asked for.
    """

    rows: int
    large: int
    bytes: int
    heard: list[Message]
    asked: list[Message] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """What one run did.

    Attributes:
        episodes: Runs over its history.
        entities: Operations of entities, each with the size of the state that it left.
        looks: How often a client looked at the instance.
        requests: HTTP requests that it took.
        blobs: Requests to Blob Storage by kind, apart from those of the engine.
        blob_bytes: Bytes in bodies of requests to Blob Storage that were kept.
        blob_read_bytes: Bytes in bodies of its answers.
        wire: Bytes of work items and their answers, where they were counted.
    """

    episodes: list[Episode] = field(default_factory=list)
    entities: list[int] = field(default_factory=list)
    looks: int = 0
    requests: int = 0
    blobs: collections.Counter[str] = field(default_factory=collections.Counter)
    blob_bytes: int = 0
    blob_read_bytes: int = 0
    wire: int = 0

    def heard(self, *kinds: str) -> int:
        """Count what was heard of these kinds, or in all."""
        return sum(not kinds or one.kind in kinds for each in self.episodes for one in each.heard)

    def asked(self, *kinds: str) -> int:
        """Count what was asked for of these kinds, or in all."""
        return sum(not kinds or one.kind in kinds for each in self.episodes for one in each.asked)

    @property
    def messages(self) -> list[Message]:
        """All that was heard and asked for."""
        return [one for each in self.episodes for one in (*each.heard, *each.asked)]

    @property
    def history_rows(self) -> int:
        """Rows of history that were written: messages, and the beginning and end of each episode."""
        return len(self.messages) + 2 * len(self.episodes)

    @property
    def history_bytes(self) -> int:
        """Length of all texts of the history."""
        return sum(one.size for one in self.messages)


def size_of(event: history.Event) -> int:
    """Give the length of an event's texts."""
    return sum(len(str(event.get(name) or "")) for name in ("Input", "Result", "Reason", "Details"))


class Episodes:
    """Episodes of orchestrations on the local host as they come, by instance."""

    def __init__(self) -> None:
        self.found: dict[str, list[Episode]] = collections.defaultdict(list)
        self._known: set[tuple[str, int, str]] = set()

    def take(self, context: dict[str, Any]) -> None:
        """Take in what an orchestrator function is about to be run over."""
        events: list[history.Event] = context["history"]
        last = max(place for place, item in enumerate(events) if item["EventType"] == Kind.ORCHESTRATOR_STARTED)
        key = context["instanceId"], last, events[last]["Timestamp"]
        if key in self._known:
            # The local host lets go of a run that waits, and builds it anew later; Azure does not do that.
            return
        self._known.add(key)
        sizes = [size_of(item) for item in events[:last]]
        heard = [Message(HEARD[kind], size_of(item)) for item in events[last:] if (kind := item["EventType"]) in HEARD]
        large = sum(size > LARGE_FIELD_CHARACTERS for size in sizes)
        self.found[context["instanceId"]].append(Episode(last, large, sum(sizes), heard))

    def of(self, instance_id: str, log: list[history.Event]) -> list[Episode]:
        """Give an instance's episodes with what they asked for, which stands in its log between what they heard."""
        episodes = self.found.pop(instance_id)
        places = iter(episodes)
        episode, left = None, 0
        for item in log:
            kind = item["EventType"]
            if kind in HEARD:
                if not left:
                    episode = next(places)
                    left = len(episode.heard)
                left -= 1
            elif kind in ASKED and episode is not None:
                episode.asked.append(Message(ASKED[kind], size_of(item)))
        return episodes


def episode_of(request: messages.OrchestratorRequest) -> Episode:
    """Give the episode that a work item of a scheduler is for."""
    sizes = [_text_size(event) for event in request.pastEvents]
    heard = [
        Message(_HEARD_FIELDS[name], _text_size(event))
        for event in request.newEvents
        if (name := event.WhichOneof("eventType")) in _HEARD_FIELDS
    ]
    return Episode(len(sizes), sum(size > LARGE_FIELD_CHARACTERS for size in sizes), sum(sizes), heard)


def asked_of(response: messages.OrchestratorResponse) -> list[Message]:
    """Give what an episode asked for."""
    return [
        Message(_ASKED_FIELDS[name], _text_size(action))
        for action in response.actions
        if (name := action.WhichOneof("orchestratorActionType")) in _ASKED_FIELDS
    ]


def _text_size(message: Any) -> int:
    """Give the length of the texts in a protobuf message that are a user's: inputs, results, failures."""
    one = message.WhichOneof(
        "eventType" if "eventType" in message.DESCRIPTOR.oneofs_by_name else "orchestratorActionType"
    )
    if one is None:
        return 0
    inner = getattr(message, one)
    total = 0
    for name in ("input", "result", "failureDetails", "data"):
        if name in inner.DESCRIPTOR.fields_by_name and inner.HasField(name):
            found = getattr(inner, name)
            total += len(found.value) if hasattr(found, "value") else len(json.dumps(json_format.MessageToDict(found)))
    return total
