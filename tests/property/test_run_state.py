from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.payloads import refs
from perdure.workflow import barriers, protocol, run_state, shape, snapshot

SOURCES = ("a", "b", "c")
GRAPH = shape.Shape(
    workflow="w",
    start="a",
    executors=("a", "b", "c", "d", "j"),
    types=("T",) * 5,
    groups=(
        shape.Group("fan-in", SOURCES, ("j",)),
        shape.Group("single", ("a",), ("d",)),
        shape.Group("fan-out", ("b",), ("d", "a")),
        shape.Group("single", ("c",), ("d",)),
    ),
    max_iterations=100,
    signature="",
)


def value(text: str) -> refs.Ref:
    return refs.Ref(text.encode())


def delivery(executor: str, ordinal: int = 0) -> run_state.Delivery:
    return run_state.Delivery(executor, ordinal, ("x",), (value("go"),))


def state_of(*due: run_state.Delivery, buffers: tuple[run_state.Buffered, ...] = ()) -> run_state.RunState:
    return run_state.RunState(1, due, (None,) * len(due), snapshot.Snapshot(), buffers)


def sends(executor: str, *texts: str, groups: tuple[int, ...] = (0,)) -> run_state.StepResult:
    routes = [
        run_state.Route(group, index, () if group == 0 else GRAPH.groups[group].targets)
        for group in groups
        for index in range(len(texts))
    ]
    return run_state.StepResult(tuple(run_state.Sent(value(f"{executor}:{text}")) for text in texts), tuple(routes))


def texts_of(item: run_state.Delivery) -> list[str]:
    return [(ref.inline or b"").decode() for ref in item.messages]


@given(st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 2)), max_size=12))
def test_fan_in_joins_when_every_source_has_sent(sent: list[tuple[str, int]]) -> None:
    """A fan-in delivers, in the order of its edges, once every source has a message; leftovers stay buffered."""
    waiting: dict[str, list[str]] = {source: [] for source in SOURCES}
    expected: list[list[str]] = []
    actual: list[list[str]] = []
    buffers: tuple[run_state.Buffered, ...] = ()
    for number, (source, count) in enumerate(sent):
        texts = [f"{number}.{index}" for index in range(count)]
        state = run_state.land(state_of(delivery(source), buffers=buffers), 0, sends(source, *texts))
        crossed = barriers.cross(GRAPH, state).state
        buffers = crossed.buffers
        for text in texts:
            waiting[source].append(f"{source}:{text}")
            if all(waiting.values()):
                expected.append([item for name in SOURCES for item in waiting[name]])
                waiting = {name: [] for name in SOURCES}
        actual += [texts_of(due) for due in crossed.due]
        assert all(due.executor == "j" and due.joined and due.sources == SOURCES for due in crossed.due)
    assert actual == expected
    left = [(item.source, (item.sent.ref.inline or b"").decode()) for item in buffers]
    assert sorted(left) == sorted((name, text) for name, texts in waiting.items() for text in texts)


@given(st.permutations([0, 1, 2, 3]))
def test_order_in_which_siblings_end_does_not_show(order: list[int]) -> None:
    """The next superstep is canonical: it depends on the deliveries, not on which sibling ended first."""
    due = (delivery("b"), delivery("a"), delivery("b", 1), delivery("c"))
    results = [
        msgspec.structs.replace(
            sends(item.executor, f"{index}.0", f"{index}.1", groups=GRAPH.by_source[item.executor]),
            writes=snapshot.Layer((("shared", value(str(index))), (f"own{index}", value("x")))),
        )
        for index, item in enumerate(due)
    ]
    state = state_of(*due)
    for position in order:
        state = run_state.land(state, position, results[position])
    crossed = barriers.cross(GRAPH, state)
    straight = state_of(*due)
    for position, result in enumerate(results):
        straight = run_state.land(straight, position, result)
    assert crossed == barriers.cross(GRAPH, straight)
    found = snapshot.lookup(crossed.state.snapshot, "shared", lambda digest, owner: b"")
    assert found == value("3")
    assert crossed.conflicts == ("shared",)


def test_each_sources_messages_stay_together_by_edge_group() -> None:
    """Order is canonical: sources by first send in delivery order, edge groups in definition order, then messages."""
    due = (delivery("c"), delivery("b"), delivery("c", 1))
    state = state_of(*due)
    state = run_state.land(state, 1, sends("b", "1", "2", groups=(2,)))
    state = run_state.land(state, 2, sends("c", "3", groups=(3,)))
    state = run_state.land(state, 0, sends("c", "1", "2", groups=(3,)))
    crossed = barriers.cross(GRAPH, state).state
    assert [(item.executor, item.ordinal, texts_of(item)[0]) for item in crossed.due] == [
        ("d", 0, "c:1"),
        ("d", 1, "c:2"),
        ("d", 2, "c:3"),
        ("d", 3, "b:1"),
        ("a", 0, "b:1"),
        ("d", 4, "b:2"),
        ("a", 1, "b:2"),
    ]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.data())
def test_deliveries_to_one_executor_run_one_after_another(executors: list[str], data: st.DataObject) -> None:
    """Only the first delivery to an executor that has not landed is ready, and it sees the writes of those before."""
    due = tuple(delivery(name, executors[:place].count(name)) for place, name in enumerate(executors))
    state = state_of(*due)
    while not run_state.complete(state):
        ready = run_state.ready(state)
        names = [state.due[position].executor for position in ready]
        assert len(set(names)) == len(names)
        position = data.draw(st.sampled_from(ready))
        seen = dict(run_state.view(state, position).layers[0].changes) if state.due[position].ordinal else {}
        mine = [place for place in range(position) if executors[place] == executors[position]]
        assert seen == ({"last": value(str(mine[-1]))} if mine else {})
        written = snapshot.Layer((("last", value(str(position))),))
        state = run_state.land(state, position, run_state.StepResult(writes=written))
    conflicts = barriers.cross(GRAPH, state).conflicts
    assert conflicts == (("last",) if len(set(executors)) > 1 else ())


@settings(max_examples=40)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6))
def test_run_state_survives_encoding(executors: list[str]) -> None:
    """A RunState that was kept at a barrier and read back goes on as the one that was not."""
    state = state_of(*(delivery(name, executors[:place].count(name)) for place, name in enumerate(executors)))
    for position, item in enumerate(state.due):
        groups = GRAPH.by_source.get(item.executor, ())
        state = run_state.land(state, position, sends(item.executor, str(position), groups=groups))
    crossed = barriers.cross(GRAPH, state).state
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(crossed), type=run_state.RunState) == crossed


def test_routing_error_fails_the_run() -> None:
    """The first failure of a superstep is the run's."""
    state = state_of(delivery("a"), delivery("b"))
    first = protocol.Failure("LookupError", "first")
    second = protocol.Failure("LookupError", "second")
    state = run_state.land(state, 1, run_state.StepResult(failure=first))
    assert run_state.land(state, 0, run_state.StepResult(failure=second)).failure == first
