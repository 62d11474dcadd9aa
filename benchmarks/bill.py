"""What traces mean in transactions of Azure Storage, in actions of Durable Task Scheduler, and in money.

How often the Azure Storage provider asks its queues and tables is read from its source, DurableTask.AzureStorage
(Azure/durabletask at 52170329); the method that does it stands beside each number. It is a model: nothing here has run
against a storage account.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import traced

RUNS_A_DAY = 1_000_000
DAY_SECONDS = 86_400
MONTH_DAYS = 30

PRICES = Path(__file__).with_name("prices.toml")

# What the provider asks for.
START = {
    "table_read": 1,  # CreateTaskOrchestrationAsync: FetchInstanceStatusAsync
    "table_write": 1,  # SetNewExecutionAsync
    "queue": 1,  # AddMessageAsync
}
HEARD_START = {"table_read": 1}  # OrchestrationSessionManager.DedupeExecutionStartedMessagesAsync
EVENT = {"table_read": 1, "queue": 1}  # the extension's RaiseEventAsync looks; SendTaskOrchestrationMessageAsync
LOOK = {"table_read": 1}  # GetStateAsync
HEARD = {"queue": 2}  # ControlQueue.GetMessagesAsync, DeleteMessageBatchAsync
ACTIVITY = {"queue": 4}  # CommitOutboundQueueMessages; WorkItemQueue.GetMessageAsync; the result; DeleteMessageAsync
TIMER = {"queue": 1}  # CommitOutboundQueueMessages, not visible until it is due
CHILD = {"queue": 2}  # the start of the child, and its result
ENTITY = {
    "queue": 4,  # the request put, got and deleted; the answer put
    "table_read": 1,  # GetHistoryEventsAsync
    "table_write": 2,  # UpdateStateAsync: history and instance
}
HISTORY_PAGE_ROWS = 1000  # rows that one answer of a table has
HISTORY_BATCH_ROWS = 99  # UpdateStateAsync, beside the sentinel
LARGE_MESSAGE_CHARACTERS = 45 * 1024  # MessageManager.MaxStorageQueuePayloadSizeInBytes

# Targets that Microsoft publishes: for a standard storage account in most regions, one queue, and the scheduler.
ACCOUNT_REQUESTS_A_SECOND = 20_000
QUEUE_MESSAGES_A_SECOND = 2_000
QUEUE_REQUESTS_A_MESSAGE = 3
CONTROL_QUEUES = 4
CONSUMPTION_ACTIONS_A_SECOND = 500
UNIT_ACTIONS_A_SECOND = 2_000
UNIT_BYTES = 50e9

ROW_BYTES = 300
"""What a row of history takes beside its texts: an estimate."""

CORE_BUSY = 0.6
"""How much of a core is planned for."""

Requests = Mapping[str, float]


def storage(trace: traced.Trace) -> dict[str, float]:
    """Count what a run asks of its storage account on the Azure Storage provider: of the engine and of perdure."""
    counted: dict[str, float] = dict.fromkeys(("queue", "table_read", "table_write", "blob_write", "blob_read"), 0)
    _add(counted, trace.blobs)
    _add(counted, START)
    _add(counted, HEARD_START, trace.heard("start"))
    _add(counted, EVENT, trace.heard("event") - len(trace.entities))
    _add(counted, LOOK, trace.looks)
    _add(counted, ACTIVITY, trace.asked("activity"))
    _add(counted, TIMER, trace.asked("timer"))
    _add(counted, CHILD, trace.asked("child"))
    _add(counted, ENTITY, len(trace.entities))
    # A timer that is cancelled is got and deleted when it is due all the same.
    _add(counted, HEARD, trace.heard() + trace.asked("timer") - trace.heard("timer"))
    for episode in trace.episodes:
        written = len(episode.heard) + len(episode.asked) + 2
        counted["table_read"] += 1 + episode.rows // HISTORY_PAGE_ROWS
        counted["table_write"] += math.ceil(written / HISTORY_BATCH_ROWS) + 1
        counted["blob_read"] += episode.large
    for message in trace.messages:
        if message.size > LARGE_MESSAGE_CHARACTERS:
            _add(counted, {"blob_write": 1, "blob_read": 1})
        if message.size > traced.LARGE_FIELD_CHARACTERS:
            counted["blob_write"] += 1
    return counted


def scheduler(trace: traced.Trace) -> dict[str, float]:
    """Count what a run asks of Durable Task Scheduler: each message that it dispatches is an action; and of storage."""
    actions = trace.heard() + trace.asked("activity") + len(trace.entities)
    return {"action": actions, "blob_write": 0, "blob_read": 0, **{kind: n for kind, n in trace.blobs.items()}}


def executions(trace: traced.Trace) -> int:
    """Count the invocations of functions on Azure Functions."""
    return len(trace.episodes) + trace.asked("activity") + len(trace.entities) + trace.requests


def stored_bytes(trace: traced.Trace) -> int:
    """Give the bytes that a run leaves in its storage account: history, and what perdure keeps beside it."""
    # Texts are UTF-16 in a table.
    return trace.history_rows * ROW_BYTES + 2 * trace.history_bytes + sum(trace.entities) + trace.blob_bytes


def history_bytes(trace: traced.Trace) -> int:
    """Give the bytes that a run leaves with a scheduler."""
    return trace.history_rows * ROW_BYTES + trace.history_bytes + sum(trace.entities)


def requests_of(counted: Requests) -> float:
    """Sum what is asked of a storage account."""
    return sum(number for kind, number in counted.items() if kind != "action")


@dataclass(frozen=True, slots=True)
class Limit:
    """How many runs a day something bears.

    Attributes:
        what: What it is.
        runs: Runs a day, spread evenly.
    """

    what: str
    runs: float


def storage_limits(trace: traced.Trace) -> list[Limit]:
    """Give what bears how many runs on the Azure Storage provider, the first limit first."""
    counted = storage(trace)
    control = trace.heard() + trace.asked("timer") - trace.heard("timer") + len(trace.entities)
    work = trace.asked("activity")
    found = [
        Limit("the storage account's requests", _runs(ACCOUNT_REQUESTS_A_SECOND, requests_of(counted))),
        Limit("the one queue of activities", _runs(QUEUE_MESSAGES_A_SECOND, work * QUEUE_REQUESTS_A_MESSAGE)),
        Limit(
            f"{CONTROL_QUEUES} control queues",
            _runs(QUEUE_MESSAGES_A_SECOND * CONTROL_QUEUES, control * QUEUE_REQUESTS_A_MESSAGE),
        ),
    ]
    return sorted(found, key=lambda limit: limit.runs)


def scheduler_limits(trace: traced.Trace) -> list[Limit]:
    """Give what bears how many runs on the scheduler, the first limit first."""
    counted = scheduler(trace)
    found = [
        Limit("the scheduler, by consumption", _runs(CONSUMPTION_ACTIONS_A_SECOND, counted["action"])),
        Limit("the scheduler, one capacity unit", _runs(UNIT_ACTIONS_A_SECOND, counted["action"])),
        Limit("what a capacity unit holds, for a day", UNIT_BYTES / history_bytes(trace)),
        Limit("the storage account's requests", _runs(ACCOUNT_REQUESTS_A_SECOND, requests_of(counted))),
    ]
    return sorted(found, key=lambda limit: limit.runs)


def _runs(a_second: float, a_run: float) -> float:
    return a_second * DAY_SECONDS / a_run if a_run else math.inf


def instances(cpu_seconds: float) -> int:
    """Give how many single-core instances a million runs a day keep busy."""
    return max(math.ceil(RUNS_A_DAY * cpu_seconds / DAY_SECONDS / CORE_BUSY), 1)


def prices(changes: Iterable[str] = (), file: Path = PRICES) -> dict[str, float]:
    """Read the prices, with changes such as ``blob_write=0.05``.

    Raises:
        ValueError: If a change names no price or has no number.
    """
    found = {name: float(value) for name, value in tomllib.loads(file.read_text())["prices"].items()}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in found:
            raise ValueError(f"There is no price {name!r}; there are: {', '.join(sorted(found))}.")
        found[name] = float(value)
    return found


def cost(counted: Requests, price: Mapping[str, float]) -> dict[str, float]:
    """Give what a million runs cost, by what they ask for."""
    units = {name: 10_000.0 for name in ("queue", "table_read", "table_write", "blob_write", "blob_read", "blob_list")}
    units |= {"blob_other": 10_000.0, "action": 10_000.0}
    return {
        kind: number * RUNS_A_DAY / units[kind] * price[kind]
        for kind, number in counted.items()
        if kind != "blob_delete"
    }


def compute(cpu_seconds: float, invocations: int, price: Mapping[str, float]) -> dict[str, float]:
    """Give what a million runs cost on Flex Consumption: an instance of 2 GB that is busy does one core's work."""
    seconds = RUNS_A_DAY * cpu_seconds / CORE_BUSY
    return {
        "gb_second": seconds * price["instance_gb"] * price["gb_second"],
        "execution": invocations * RUNS_A_DAY / 1_000_000 * price["execution"],
    }


def kept(trace: traced.Trace, price: Mapping[str, float]) -> float:
    """Give what it costs to keep what a million runs leave, for a month."""
    return stored_bytes(trace) * RUNS_A_DAY / 1e9 * price["gb_month"]


def _add(counted: dict[str, float], more: Mapping[str, float], times: float = 1) -> None:
    for kind, number in more.items():
        counted[kind] = counted.get(kind, 0) + number * times
