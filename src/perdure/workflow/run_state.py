"""A run as a fold: what is due, what has landed, and how one becomes the next. Pure, over references only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from perdure.payloads import refs
from perdure.workflow import protocol, shape, snapshot

RESERVED: Final = "\x00"
"""Keys that start so are perdure's own: executor states and outputs ride in the snapshot."""

Traces = tuple[tuple[dict[str, str], str], ...]
"""W3C trace contexts and span ids of the senders, for linking."""


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """One message, or one aggregated fan-in list, addressed to one executor.

    Attributes:
        executor: Who handles it.
        ordinal: How many deliveries to the same executor come before it in this superstep.
        sources: The executors it comes from.
        messages: The value; for a fan-in one value for each contribution.
        joined: Whether ``messages`` is delivered as a list.
        traces: Trace contexts of the senders.
        request: The request that the message answers, if it is an answer.
        withdrawn: Whether the request was withdrawn instead; then there is no message.
    """

    executor: str
    ordinal: int
    sources: tuple[str, ...]
    messages: tuple[refs.Ref, ...]
    joined: bool = False
    traces: Traces = ()
    request: Request | None = None
    withdrawn: bool = False


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """A message as an executor sent it."""

    ref: refs.Ref
    traces: Traces = ()


class Route(msgspec.Struct, frozen=True, array_like=True):
    """Where one message went through one edge group.

    Attributes:
        group: Index of the edge group in the shape.
        message: Index of the message among those sent by this activity.
        targets: Who it is delivered to; empty for a contribution to a fan-in.
    """

    group: int
    message: int
    targets: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A question to the world outside, open until it is answered.

    Attributes:
        id: Derived from the step, so that the same step asks under the same id again.
        executor: Who asked.
        data: What it asks.
        request_type: Name of the class of ``data``.
        response_type: Name of the type that an answer must have.
        deadline: When it is answered for whoever should have, seconds since the epoch; 0 for never.
        answer: The type itself of an answer, where the graph does not tell, or not to the run on top.
        superstep: When it was asked: a later superstep may ask under the same id again.
    """

    id: str
    executor: str
    data: refs.Ref
    request_type: str
    response_type: str
    deadline: float = 0.0
    answer: refs.Ref | None = None
    superstep: int = 0


class StepResult(msgspec.Struct, frozen=True, array_like=True):
    """What one activity did, by reference.

    Attributes:
        messages: What it sent, in order.
        routes: Where that went, by edge group and then by message.
        writes: Changes of the shared state, and the executor's own state under a reserved key.
        outputs: A page (encoded tuple of references) of the outputs it yielded; None for none.
        requests: What it asked for.
        events: Encoded events in the order in which they happened.
        folded: A new base of the snapshot.
        definition: Digest of the code's definition where it is not the one the run was told; else empty.
        failure: A routing error: the work is done and is not done again, but the run fails.
        unheard: Whether it sent messages that went nowhere.
        intermediates: A page of intermediate outputs; kept inside sub-workflows only, whose parent is given them.
        entered: The sub-workflow with what it was given due: it has its turn before the step is over.
        withdrawn: Ids of requests that need no answer any more.
        told: Whether the message is an answer that somebody was accepted with before a deadline gave one.
    """

    messages: tuple[Sent, ...] = ()
    routes: tuple[Route, ...] = ()
    writes: snapshot.Layer | None = None
    outputs: refs.Ref | None = None
    requests: tuple[Request, ...] = ()
    events: tuple[bytes, ...] = ()
    folded: snapshot.Folded | None = None
    definition: bytes = b""
    failure: protocol.Failure | None = None
    unheard: bool = False
    intermediates: refs.Ref | None = None
    entered: RunState | None = None
    withdrawn: tuple[str, ...] = ()
    told: bool = False


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What somebody outside said to a request.

    Attributes:
        request: The id of the request.
        message: The answer, of the type that was asked for.
        superstep: When the request was made: a later one may have its id. 0 for whichever is open.
    """

    request: str
    message: refs.Ref
    superstep: int = 0


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A request as it was made: a later one may have its id."""

    request: str
    superstep: int


class Buffered(msgspec.Struct, frozen=True, array_like=True):
    """A contribution that waits in a fan-in group."""

    group: int
    source: str
    sent: Sent


class RunState(msgspec.Struct, frozen=True, array_like=True):
    """A run between two landings.

    Attributes:
        superstep: The current one, from 1.
        due: Its deliveries in canonical order.
        landed: The result of each, None while it is out.
        snapshot: The shared state as committed by the superstep before.
        buffers: Contributions that wait in fan-in groups, in order of arrival.
        outputs: How many pages of outputs the snapshot holds.
        requests: Open requests, in the order in which they were made.
        answers: Answers with their requests that are delivered in the next superstep.
        definition: Digest of the definition that ran last.
        failure: Why the run failed.
        expired: Ids of requests whose deadline has passed and whose answer is being made.
        intermediates: How many pages of intermediate outputs the snapshot holds.
        withdrawn: Requests that were withdrawn; their executors are told in the next superstep.
        turns: Sub-workflows in the midst of a turn.
    """

    superstep: int
    due: tuple[Delivery, ...]
    landed: tuple[StepResult | None, ...]
    snapshot: snapshot.Snapshot
    buffers: tuple[Buffered, ...] = ()
    outputs: int = 0
    requests: tuple[Request, ...] = ()
    answers: tuple[tuple[Request, refs.Ref], ...] = ()
    definition: bytes = b""
    failure: protocol.Failure | None = None
    expired: tuple[str, ...] = ()
    intermediates: int = 0
    withdrawn: tuple[Request, ...] = ()
    turns: tuple[Turn, ...] = ()


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """A sub-workflow that was given something and is not idle again, or was not heard of yet.

    Attributes:
        position: The delivery it handles.
        state: The sub-workflow as a run of its own; None until it was given what the delivery brings.
        until: When its time is over, seconds since the epoch; 0 for never.
    """

    position: int
    state: RunState | None
    until: float = 0.0


def initial(graph: shape.Shape, message: refs.Ref, source: str, given: snapshot.Layer | None = None) -> RunState:
    """Give the state of a run whose start executor is due with the input; its shared state holds what is given."""
    due = Delivery(graph.start, 0, (source,), (message,))
    seen = snapshot.Snapshot() if given is None else snapshot.put(snapshot.Snapshot(), given)
    return RunState(1, (due,), (None,), seen, definition=graph.definition)


def blank(graph: shape.Shape) -> RunState:
    """Give a sub-workflow that was given nothing yet."""
    return RunState(1, (), (), snapshot.Snapshot(), definition=graph.definition)


def given(graph: shape.Shape, state: RunState, message: refs.Ref) -> RunState:
    """Give a sub-workflow another input: its state stays, its supersteps count from 1."""
    begun = initial(graph, message, graph.internal_source(graph.start))
    return msgspec.structs.replace(state, superstep=1, due=begun.due, landed=begun.landed, definition=graph.definition)


def key(superstep: int, delivery: Delivery) -> str:
    """Name a step within its run."""
    return f"{superstep}/{delivery.ordinal}/{delivery.executor}"


def ready(state: RunState) -> list[int]:
    """Positions in ``due`` that can run now: all those before them to the same executor have landed."""
    blocked: set[str] = set()
    found: list[int] = []
    for position, delivery in enumerate(state.due):
        if state.landed[position] is None:
            if delivery.executor not in blocked:
                found.append(position)
            blocked.add(delivery.executor)
    return found


def view(state: RunState, position: int) -> snapshot.Snapshot:
    """The shared state that a delivery sees: committed, plus what deliveries to the same executor wrote before it."""
    delivery = state.due[position]
    if not delivery.ordinal:
        return state.snapshot
    before = zip(state.due[:position], state.landed[:position], strict=True)
    return snapshot.put_all(
        state.snapshot,
        (
            result.writes
            for other, result in before
            if other.executor == delivery.executor and result is not None and result.writes is not None
        ),
    )


def land(state: RunState, position: int, result: StepResult) -> RunState:
    """Take in a result; what it asks is open from here on, while its siblings go on."""
    landed = (*state.landed[:position], result, *state.landed[position + 1 :])
    requests, expired = state.requests, state.expired
    if result.requests:
        # Asked again under an id that is open already, a request takes the place of the one before.
        again = {request.id for request in result.requests}
        requests = (*(request for request in requests if request.id not in again), *result.requests)
        expired = tuple(name for name in expired if name not in again)
    if result.withdrawn:
        requests = tuple(request for request in requests if request.id not in result.withdrawn)
        expired = tuple(name for name in expired if name not in result.withdrawn)
    return msgspec.structs.replace(
        state, landed=landed, requests=requests, expired=expired, failure=state.failure or result.failure
    )


def answer(state: RunState, given: Answer) -> RunState:
    """Take in an answer; one to a request that is not open changes nothing."""
    for position, request in enumerate(state.requests):
        if request.id == given.request and given.superstep in (0, request.superstep):
            return msgspec.structs.replace(
                state,
                requests=(*state.requests[:position], *state.requests[position + 1 :]),
                expired=tuple(name for name in state.expired if name != request.id),
                answers=(*state.answers, (request, given.message)),
            )
    return state


def withdraw(state: RunState, which: Collection[str | Asked]) -> RunState:
    """Take in that requests are withdrawn; those that are not open change nothing."""
    gone = tuple(
        request for request in state.requests if request.id in which or Asked(request.id, request.superstep) in which
    )
    if not gone:
        return state
    ids = {request.id for request in gone}
    return msgspec.structs.replace(
        state,
        requests=tuple(request for request in state.requests if request.id not in ids),
        expired=tuple(name for name in state.expired if name not in ids),
        withdrawn=(*state.withdrawn, *gone),
    )


def expire(state: RunState, request: Request, *, over: bool = False) -> RunState:
    """Take in that a request's deadline has passed, or that what followed from it is over.

    Its deadline does not pass a second time.
    """
    others = tuple(name for name in state.expired if name != request.id)
    asked = tuple(
        msgspec.structs.replace(item, deadline=0.0) if item.id == request.id else item for item in state.requests
    )
    return msgspec.structs.replace(state, requests=asked, expired=others if over else (*others, request.id))


def idle(state: RunState) -> RunState:
    """Give a sub-workflow as it stays between its turns: without the outputs that its parent was given."""
    gone = [*map(output_key, range(state.outputs)), *map(intermediate_key, range(state.intermediates))]
    seen = (
        snapshot.put(state.snapshot, snapshot.Layer(tuple((name, None) for name in gone))) if gone else state.snapshot
    )
    return msgspec.structs.replace(state, snapshot=seen, outputs=0, intermediates=0)


def complete(state: RunState) -> bool:
    """Say whether every delivery of the superstep has landed."""
    return None not in state.landed


def output_key(page: int) -> str:
    """Where the snapshot holds a page of outputs."""
    return f"{RESERVED}output:{page}"


def intermediate_key(page: int) -> str:
    """Where the snapshot holds a page of intermediate outputs."""
    return f"{RESERVED}intermediate:{page}"


def child_key(executor: str) -> str:
    """Where the snapshot holds the sub-workflow that an executor wraps, as it was when it was idle."""
    return f"{RESERVED}child:{executor}"


def executor_key(executor: str) -> str:
    """Where the snapshot holds an executor's own state."""
    return f"{RESERVED}executor:{executor}"


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(RunState)

encode: Callable[[RunState], bytes] = _encoder.encode
decode: Callable[[bytes], RunState] = _decoder.decode
