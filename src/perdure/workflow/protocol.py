"""What an orchestrator needs of a host, and what a host feeds it.

An orchestrator is a generator over a :class:`Host`. It schedules work by calling the host, yields to wait,
and is sent one :class:`Landed` at a time, in the order in which the host recorded them. It ends by returning
an :class:`Ended`. Given the same input and the same landings it makes the same calls: that is what lets a
host rebuild it after a crash by running it again over the recorded landings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from perdure.payloads import refs


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why something failed, in words for people.

    Attributes:
        type: The exception's class name.
        message: Its text.
        detail: The user's own frames of its traceback; may be empty.
        kinds: Dotted names of the exception's classes and of its causes', and what kind of failure it is.
        retry_after: How long a service asked to be left alone, in seconds.
    """

    type: str
    message: str
    detail: str = ""
    kinds: tuple[str, ...] = ()
    retry_after: float | None = None


class Landed(NamedTuple):
    """One thing that an orchestrator waited for, or was sent.

    Attributes:
        kind: ``result`` (an activity's or child's value), ``failure`` (its :class:`Failure`), ``timer`` or ``event``.
        key: The key the orchestrator gave the activity, child or timer; an event's name.
        value: The result, the failure, an event's data (bytes), or None for a timer.
        time: When the host recorded it, seconds since the epoch.
    """

    kind: Literal["result", "failure", "timer", "event"]
    key: str
    value: Any
    time: float


class Outcome(msgspec.Struct, frozen=True):
    """What an activity gives back.

    Attributes:
        value: The result as the orchestrator is sent it.
        data: The same result encoded, as the host records it.
        blobs: Payloads that ``value`` refers to; durable no later than the result.
        owner: The run that owns the blobs.
    """

    value: Any
    data: bytes
    blobs: Sequence[refs.Blob] = ()
    owner: str = ""


class Ended(msgspec.Struct, frozen=True):
    """How an orchestration ended.

    Attributes:
        output: Its output, encoded; None if it failed.
        failure: Why it failed; None if it completed.
        state: A state from just before it failed, for ``Orchestrator.resume``; None if it cannot go on from there.
    """

    output: bytes | None = None
    failure: Failure | None = None
    state: bytes | None = None


class Host(Protocol):
    """An engine as one orchestration sees it. Nothing here waits.

    Keys are unique within the orchestration: one that is still waited for is refused with a ValueError. Every
    host runs the suite in ``perdure.testing.conformance.orchestrations``.
    """

    @property
    def instance_id(self) -> str:
        """The id of this orchestration."""
        ...

    @property
    def now(self) -> float:
        """Seconds since the epoch at the last landing (or the start): the same whenever it is run again."""
        ...

    def activity(self, key: str, name: str, call: Any) -> None:
        """Run an activity; lands as ``result`` or ``failure`` under ``key``."""
        ...

    def child(self, key: str, name: str, instance_id: str, call: bytes) -> None:
        """Start a child orchestration; lands as ``result`` or ``failure`` under ``key``."""
        ...

    def timer(self, key: str, fire_at: float) -> None:
        """Land a ``timer`` at this time (seconds since the epoch)."""
        ...

    def cancel(self, key: str) -> None:
        """Forget a timer or an activity: it will not land."""
        ...

    def emit(self, event: bytes) -> None:
        """Append to the orchestration's durable, ordered, gapless event log."""
        ...

    def status(self, value: bytes | None) -> None:
        """Set the custom status."""
        ...

    def keep(self, state: Callable[[], bytes]) -> None:
        """Offer a state to resume from: a host that replays long histories may store it and start there next time.

        ``state`` may be called at any later moment, or never, and gives the state as of this call. What was
        emitted before this call is in the past; what is scheduled from here on, and what is still outstanding
        here, ``Orchestrator.resume`` schedules again.
        """
        ...


T = TypeVar("T")

Stepping = Generator[None, Landed, T]
"""Part of a running orchestrator: sent landings, returns something."""

Steps = Stepping[Ended]
"""A running orchestrator: sent landings, returns how it ended.

A host that lets go of one before it has ended closes it, so that its ``finally`` clauses run.
"""


class Orchestrator(Protocol):
    """A kind of orchestration, by name."""

    @property
    def name(self) -> str:
        """The durable name, such as ``dafx-triage``."""
        ...

    def begin(self, host: Host, call: bytes) -> Steps:
        """Run from the start, with the input it was started with."""
        ...

    def resume(self, host: Host, call: bytes, state: bytes) -> Steps:
        """Run from a state that was offered to ``host.keep``."""
        ...

    def decode(self, data: bytes) -> Any:
        """Give back an activity's or a child's recorded ``Outcome.data`` as its value."""
        ...


class Stranded(Exception):
    """Raised by an activity that the code of today cannot do: nothing lands, and a later life of the host tries."""


class Activity(Protocol):
    """Work with effects. Runs at least once; its recorded result is final."""

    def __call__(self, instance_id: str, key: str, call: Any) -> Awaitable[Outcome]:
        """Do the work of an orchestration.

        Its id says whose work it is: where an id may be taken again, that is an owner, see ``payloads.owners``.

        An exception lands as a ``failure`` in the orchestrator, which decides what follows.

        Raises:
            Stranded: If it cannot be done by this code; it stays outstanding.
        """
        ...
