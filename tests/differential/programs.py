"""Generates workflows as data, builds them, and tells from a run whether two correct runners could differ on one.

A program's messages are frames: a number, a text or neither, with the hops it has left, so that every loop ends.
What an executor does is a list of plain operations; all of it depends on the frame, the executor's own attributes
and the shared state only.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorResponse,
    Case,
    Default,
    Executor,
    Message,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    executor,
    handler,
    tool,
)

from perdure import testing

NodeKind = Literal["any", "number", "word", "joiner", "number-joiner", "function", "agent", "sub"]
GroupKind = Literal["edge", "fan-out", "fan-in", "switch", "select"]


@dataclass(frozen=True)
class Number:
    """A message that counts."""

    hops: int
    n: int


@dataclass(frozen=True)
class Word:
    """A message that says something."""

    hops: int
    text: str


class Boom(Exception):
    """What an executor raises on purpose."""


@dataclass(frozen=True, slots=True)
class Op:
    """One thing an executor does: its kind and two numbers or a name that it uses."""

    kind: str
    a: int = 0
    b: int = 0
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """An executor; one of kind ``sub`` wraps a program, whose outputs are the run's own if ``direct``.

    An agent with a ``tool`` calls it before it answers.
    """

    id: str
    kind: NodeKind
    ops: tuple[Op, ...] = ()
    hooks: bool = False
    inner: Program | None = None
    direct: bool = False
    tool: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """An edge group; ``a`` and ``b`` choose its conditions, ``slow`` makes them coroutines."""

    kind: GroupKind
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    a: int = 0
    b: int = 0
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A workflow and its input."""

    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]
    value: Any
    max_iterations: int = 60
    output_from: tuple[str, ...] | None = None
    intermediate_from: tuple[str, ...] | None = None

    def joins(self) -> bool:
        """Say whether it has a fan-in."""
        return any(group.kind == "fan-in" for group in self.groups)

    def ordered(self) -> bool:
        """Say whether the order in which an executor is given its messages can show."""
        return any(
            op.kind in {"count", "seen", "read", "overwrite", "delete"} or node.kind == "agent"
            for node in self.nodes
            for op in node.ops or (Op(""),)
        )


@dataclass
class Log:
    """What the executors of one run did, by superstep."""

    steps: list[list[tuple[str, str, Any]]] = field(default_factory=lambda: [[]])

    def next_step(self) -> None:
        """Begin a superstep."""
        self.steps.append([])

    def add(self, kind: str, who: str, what: Any = None) -> None:
        """Note what was done."""
        self.steps[-1].append((kind, who, what))

    def given(self) -> int:
        """How many deliveries the executors were given; those of agents do not count."""
        return sum(kind == "given" for step in self.steps for kind, _, _ in step)

    def several_sources(self) -> bool:
        """Say whether an executor was given messages by two senders in one superstep."""
        for step in self.steps:
            senders: dict[str, set[Any]] = {}
            for kind, who, what in step:
                if kind == "given":
                    senders.setdefault(who, set()).add(what)
            if any(len(found) > 1 for found in senders.values()):
                return True
        return False

    def raced(self) -> bool:
        """Say whether an executor read a key that a sibling wrote."""
        for step in self.steps:
            wrote: dict[str, set[str]] = {}
            for kind, who, what in step:
                if kind == "write":
                    wrote.setdefault(what, set()).add(who)
            for kind, who, what in step:
                if kind in ("read", "write") and wrote.get(what, {who}) != {who}:
                    return True
        return False

    def overtook(self) -> bool:
        """Say whether an executor sent before one that was to be served earlier: in process that decides a fan-in."""
        for step in self.steps:
            given = [who for kind, who, _ in step if kind == "given"]
            sent = list(dict.fromkeys(who for kind, who, _ in step if kind == "send"))
            if sorted(sent, key=given.index) != sent:
                return True
        return False


class Behaviour:
    """What a node does with what it is given."""

    def __init__(self, node: Node, log: Log) -> None:
        self.node = node
        self.log = log

    def __deepcopy__(self, memo: Any) -> Behaviour:
        return self

    async def act(self, me: Any, given: Any, ctx: WorkflowContext[Any, Any]) -> None:
        node, log = self.node, self.log
        log.add("given", node.id, tuple(sorted(ctx.source_executor_ids)))
        hops, n = _measure(given)
        own = f"{node.id}/"
        for op in node.ops:
            if op.kind == "send" and hops > 0:
                log.add("send", node.id)
                await ctx.send_message(_message(op, hops - 1, n + op.b), target_id=op.name)
            elif op.kind == "yield":
                await ctx.yield_output([node.id, n + op.a])
            elif op.kind == "give" and hops > 0:
                await ctx.yield_output(Number(hops - 1, n + op.a))
            elif op.kind == "write":
                log.add("write", node.id, f"{own}{n}.{hops}")
                ctx.set_state(f"{own}{n}.{hops}", {"n": n, "op": op.a})
            elif op.kind == "overwrite":
                log.add("write", node.id, own)
                ctx.set_state(own, [n, hops, op.a])
            elif op.kind == "delete":
                log.add("write", node.id, own)
                if ctx.state.has(own):
                    ctx.state.delete(own)
            elif op.kind == "read":
                log.add("read", node.id, f"{op.name}/")
                n += len(str(ctx.get_state(f"{op.name}/", "nothing")))
            elif op.kind == "count":
                me.total += n
                n += me.total % 7
            elif op.kind == "seen":
                me.seen.append(n)
                n += len(me.seen)
            elif op.kind == "pause":
                await asyncio.sleep(0)
            elif op.kind == "raise" and n % 5 == op.a:
                log.add("raise", node.id)
                raise Boom(f"{node.id} cannot take {n}")


class _Stateful(Executor):
    def __init__(self, node: Node, log: Log) -> None:
        super().__init__(id=node.id)
        self.behaviour = Behaviour(node, log)
        self.total = 0
        self.seen: list[int] = []


class Anything(_Stateful):
    @handler
    async def go(self, given: Any, ctx: WorkflowContext[Any, Any]) -> None:
        await self.behaviour.act(self, given, ctx)


class Numeric(_Stateful):
    @handler
    async def go(self, given: Number, ctx: WorkflowContext[Any, Any]) -> None:
        await self.behaviour.act(self, given, ctx)


class Wordy(_Stateful):
    @handler
    async def go(self, given: Word, ctx: WorkflowContext[Any, Any]) -> None:
        await self.behaviour.act(self, given, ctx)


class Joining(_Stateful):
    @handler
    async def go(self, given: list[Any], ctx: WorkflowContext[Any, Any]) -> None:
        await self.behaviour.act(self, given, ctx)


class JoiningNumbers(_Stateful):
    @handler
    async def go(self, given: list[Number], ctx: WorkflowContext[Any, Any]) -> None:
        await self.behaviour.act(self, given, ctx)


class Hooked(Anything):
    """Carries its attributes by the framework's own hooks, under other names."""

    async def on_checkpoint_save(self) -> dict[str, Any]:
        return {"sum": self.total, "all": tuple(self.seen)}

    async def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        self.total = state["sum"]
        self.seen = list(state["all"])


class HookedNumeric(Numeric):
    on_checkpoint_save = Hooked.on_checkpoint_save
    on_checkpoint_restore = Hooked.on_checkpoint_restore


class Sub(WorkflowExecutor):
    """Wraps a program."""

    def __init__(self, node: Node, log: Log) -> None:
        assert node.inner is not None
        # What goes on inside has an order of its own, whatever the order out here.
        super().__init__(build(node.inner, Log()), id=node.id, allow_direct_output=node.direct)
        self.behaviour = Behaviour(node, log)

    @handler
    async def process_workflow(self, input_data: object, ctx: WorkflowContext[Any, Any]) -> None:
        self.behaviour.log.add("given", self.id, tuple(sorted(ctx.source_executor_ids)))
        await super().process_workflow(input_data, ctx)
        self.behaviour.log.add("send", self.id)


_CLASSES: dict[tuple[NodeKind, bool], type[_Stateful]] = {
    ("any", False): Anything,
    ("any", True): Hooked,
    ("number", False): Numeric,
    ("number", True): HookedNumeric,
    ("word", False): Wordy,
    ("word", True): Wordy,
    ("joiner", False): Joining,
    ("joiner", True): Joining,
    ("number-joiner", False): JoiningNumbers,
    ("number-joiner", True): JoiningNumbers,
}


def build(program: Program, log: Log) -> Workflow:
    """Build a program's workflow."""
    made: dict[str, Executor] = {node.id: _executor(node, log) for node in program.nodes}
    options: dict[str, Any] = {}
    if program.output_from is not None:
        options["output_from"] = [made[id] for id in program.output_from]
    if program.intermediate_from is not None:
        options["intermediate_output_from"] = [made[id] for id in program.intermediate_from]
    builder = WorkflowBuilder(
        max_iterations=program.max_iterations, start_executor=made[program.nodes[0].id], name="program", **options
    )
    for group in program.groups:
        sources, targets = [made[id] for id in group.sources], [made[id] for id in group.targets]
        if group.kind == "edge":
            builder.add_edge(sources[0], targets[0], condition=_condition(group) if group.a else None)
        elif group.kind == "fan-out":
            builder.add_fan_out_edges(sources[0], targets)
        elif group.kind == "fan-in":
            builder.add_fan_in_edges(sources, targets[0])
        elif group.kind == "switch":
            cases: list[Case | Default] = [
                Case(condition=_case(group, index), target=target) for index, target in enumerate(targets[:-1])
            ]
            builder.add_switch_case_edge_group(sources[0], [*cases, Default(target=targets[-1])])
        else:
            builder.add_multi_selection_edge_group(sources[0], targets, selection_func=_selection(group))
    return builder.build()


def _executor(node: Node, log: Log) -> Executor:
    if node.kind == "sub":
        return Sub(node, log)
    if node.kind == "agent":
        client = testing.ScriptedChatClient(lambda messages, options: _answer(node, messages))
        agent = Agent(client, name=node.id, id=node.id, tools=[_weigh] if node.tool else None)
        return AgentExecutor(agent, id=node.id)
    if node.kind == "function":
        behaviour = Behaviour(node, log)

        async def act(given: Any, ctx: WorkflowContext[Any, Any]) -> None:
            await behaviour.act(None, given, ctx)

        return executor(id=node.id)(act)
    return _CLASSES[node.kind, node.hooks](node, log)


def _answer(node: Node, messages: Sequence[Message]) -> Any:
    results = [content.result for content in messages[-1].contents if content.type == "function_result"]
    if results:
        return f"{node.id}:{results[0]}"
    if node.tool:
        return testing.tool_call("weigh", {"text": messages[-1].text})
    return f"{node.id}:{messages[-1].text}"


@tool(name="weigh")
def _weigh(text: str) -> str:
    """Weigh a text."""
    return f"{len(text)}g {text}"


def _measure(given: Any) -> tuple[int, int]:
    """The hops that are left and the number in what was given; the order of a list does not show."""
    if isinstance(given, Number):
        return given.hops, given.n
    if isinstance(given, Word):
        return given.hops, len(given.text)
    if isinstance(given, AgentExecutorResponse):
        text = given.agent_response.text
        return int(text.rpartition("|")[2]), len(text) + len(given.full_conversation or [])
    if isinstance(given, str):
        return int(given.rpartition("|")[2]), len(given)
    if isinstance(given, list):
        measured = [_measure(item) for item in given]
        return min(hops for hops, _ in measured), sum(n for _, n in measured) % 1000
    return 0, 0


def _message(op: Op, hops: int, n: int) -> Any:
    return (Number(hops, n), Word(hops, "w" * (n % 40)), f"say {n}|{hops}", [Number(hops, n)], None)[op.a]


def _condition(group: Group) -> Callable[[Any], Any]:
    def holds(value: Any) -> bool:
        return _measure(value)[1] % group.a != group.b

    async def holds_later(value: Any) -> bool:
        await asyncio.sleep(0)
        return holds(value)

    return holds_later if group.slow else holds


def _case(group: Group, index: int) -> Callable[[Any], bool]:
    return lambda value: _measure(value)[1] % 3 == (index + group.a) % 3


def _selection(group: Group) -> Callable[[Any, list[str]], list[str]]:
    return lambda value, ids: [id for place, id in enumerate(ids) if (_measure(value)[1] + group.a + place) % 3]


def generate(seed: int) -> Program:
    """Make a program from a seed."""
    rng = random.Random(seed)
    ordered = rng.random() < 0.6
    count = rng.randint(1, 8)
    kinds: list[NodeKind] = [rng.choices(("any", "function"), (5, 1))[0]]
    weights = (8, 4, 2, 0, 0, 3, 2 if ordered else 0)
    names: Sequence[NodeKind] = ("any", "number", "word", "joiner", "number-joiner", "function", "agent")
    kinds += rng.choices(names, weights, k=count - 1)
    ids = [f"{'abcdefgh'[index]}{rng.choice(('', '-x', ' y', '.z'))}" for index in range(count)]
    nodes = [Node(ids[i], kinds[i], hooks=rng.random() < 0.3) for i in range(count)]
    nodes, groups = _connect(rng, nodes, ordered)
    everyone = [node.id for node in nodes]
    nodes = [replace(node, ops=_operations(rng, node, everyone, ordered)) for node in nodes]
    speaking = [node.id for node in nodes if node.kind != "agent"]
    output_from = intermediate_from = None
    if rng.random() < 0.3:
        output_from = tuple(rng.sample(speaking, rng.randint(1, len(speaking))))
        rest = [id for id in speaking if id not in output_from]
        if rest and rng.random() < 0.5:
            intermediate_from = tuple(rng.sample(rest, rng.randint(1, len(rest))))
    value = rng.choice([Number(rng.randint(1, 5), rng.randint(0, 9)), Word(rng.randint(1, 5), "start")])
    limit = rng.randint(1, 5) if rng.random() < 0.12 else 60
    equipped = random.Random(f"tools {seed}")
    nodes = [replace(node, tool=node.kind == "agent" and equipped.random() < 0.5) for node in nodes]
    return Program(tuple(nodes), tuple(groups), value, limit, output_from, intermediate_from)


def generate_nested(seed: int) -> Program:
    """Make a program of which one executor or two wrap programs, which may wrap others."""
    rng = random.Random(f"nested {seed}")
    program = generate(rng.randrange(1_000_000))
    able = [node for node in program.nodes if node.kind in ("any", "number", "word", "function", "joiner")]
    wrapping = {node.id: _inside(rng, node, levels=2) for node in rng.sample(able, min(len(able), rng.randint(1, 2)))}
    nodes = [wrapping.get(node.id, node) for node in program.nodes]
    if any(_raises(node) for node in wrapping.values()):
        # Of several that raise in one superstep, any may be the reason.
        nodes = [replace(node, ops=tuple(op for op in node.ops if op.kind != "raise")) for node in nodes]
    return replace(program, nodes=tuple(nodes))


def _inside(rng: random.Random, node: Node, levels: int) -> Node:
    """Make a node wrap a program with one right order: a chain, or several beside each other and a join."""
    direct = rng.random() < 0.3
    ids = [f"{node.id}>{name}" for name in "abcd"[: rng.randint(1, 4)]]
    says = Op("yield" if direct else "give", rng.randint(0, 3))
    groups: list[Group] = []
    if len(ids) == 4:
        beside = [Node(id, "any", (Op("send", 0, rng.randint(0, 3)),)) for id in ids[1:3]]
        first = Node(ids[0], "any", _steps(rng, ids[0], None))
        nodes = [first, *beside, Node(ids[3], "joiner", _steps(rng, ids[3], says))]
        groups.append(Group("fan-out", (ids[0],), (ids[1], ids[2])))
        groups.append(Group("fan-in", (ids[1], ids[2]), (ids[3],)))
    else:
        nodes = [
            Node(id, rng.choice(("any", "any", "function")), _steps(rng, id, says if id == ids[-1] else None))
            for id in ids
        ]
        nodes = [
            replace(item, ops=tuple(op for op in item.ops if op.kind not in ("count", "seen")))
            if item.kind == "function"
            else replace(item, hooks=rng.random() < 0.3)
            for item in nodes
        ]
        for source, target in itertools.pairwise(ids):
            a = rng.choice((0, 0, 2, 3))
            groups.append(Group("edge", (source,), (target,), a, rng.randint(0, 1), rng.random() < 0.4))
        if levels > 1 and rng.random() < 0.5:
            place = rng.randrange(len(nodes))
            deeper = _inside(rng, nodes[place], levels - 1)
            # What is deeper down speaks for the level above as that level does.
            speaks = replace(deeper, direct=direct) if place == len(nodes) - 1 else replace(deeper, direct=False)
            nodes[place] = _speaking(speaks)
    return Node(node.id, "sub", inner=Program(tuple(nodes), tuple(groups), None), direct=direct)


def _speaking(node: Node) -> Node:
    """Make what a program inside yields fit whether that is an output or a message."""
    assert node.inner is not None
    kind = "yield" if node.direct else "give"

    def fit(inner: Node) -> Node:
        ops = (replace(op, kind=kind) if op.kind in ("yield", "give") else op for op in inner.ops)
        return replace(inner, ops=tuple(ops))

    return replace(node, inner=replace(node.inner, nodes=tuple(map(fit, node.inner.nodes))))


def _steps(rng: random.Random, id: str, says: Op | None) -> tuple[Op, ...]:
    kinds = rng.choices(("write", "overwrite", "delete", "read", "count", "seen", "pause"), k=rng.randint(0, 3))
    ops = [Op(kind, rng.randint(0, 4), name=id if kind == "read" else None) for kind in kinds]
    if rng.random() < 0.05:
        ops.append(Op("raise", rng.randint(0, 4)))
    ops += [says] if says is not None else [Op("send", rng.choice((0, 0, 1)), rng.randint(0, 3))]
    if says is None and rng.random() < 0.3:
        ops.append(Op("send", 0, 1))
    return tuple(ops)


def _raises(node: Node) -> bool:
    inner = node.inner.nodes if node.inner is not None else ()
    return any(op.kind == "raise" for op in node.ops) or any(map(_raises, inner))


def _connect(rng: random.Random, nodes: list[Node], ordered: bool) -> tuple[list[Node], list[Group]]:
    """Reach every node from the first, then add loops and a fan-in."""
    groups: list[Group] = []
    taken: set[tuple[str, str]] = set()
    kinds = {node.id: node.kind for node in nodes}
    waiting = [node.id for node in nodes[1:]]
    reached = [nodes[0].id]
    while waiting:
        source = rng.choice(reached[-2:])
        size = min(len(waiting), rng.choice((1, 1, 2, 2, 3)))
        targets, waiting = waiting[:size], waiting[size:]
        kind: GroupKind = "edge" if size == 1 else rng.choice(("fan-out", "switch", "select"))
        a = rng.choice((0, 0, 2, 3)) if kind == "edge" else rng.randint(0, 2)
        groups.append(Group(kind, (source,), tuple(targets), a, rng.randint(0, 1), rng.random() < 0.4))
        taken.update((source, target) for target in targets)
        if kinds[source] == "agent":
            # The builder refuses an agent's edge to what takes no response of an agent.
            kinds.update((target, "any") for target in targets if kinds[target] in ("number", "word"))
        reached += targets
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        source, target = rng.choice(reached), rng.choice(reached[: 2 if ordered else None])
        if (source, target) not in taken and kinds[source] != "agent":
            taken.add((source, target))
            groups.append(Group("edge", (source,), (target,), rng.choice((0, 2, 3)), rng.randint(0, 1)))
    if len(reached) >= 3 and rng.random() < 0.5:
        sources = rng.sample(reached[1:], rng.randint(2, min(3, len(reached) - 1)))
        numbers = rng.random() < 0.25 and not any(kinds[source] == "agent" for source in sources)
        nodes = [*nodes, Node("join", "number-joiner" if numbers else "joiner")]
        groups.insert(rng.randint(0, len(groups)), Group("fan-in", tuple(sources), ("join",)))
        if rng.random() < 0.4:
            groups.append(Group("edge", ("join",), (rng.choice(reached),)))
    return [replace(node, kind=kinds.get(node.id, node.kind)) for node in nodes], groups


def _operations(rng: random.Random, node: Node, everyone: list[str], ordered: bool) -> tuple[Op, ...]:
    kinds = ["send", "send", "yield", "write", "pause"]
    if ordered:
        kinds += ["overwrite", "read", "delete"]
        if node.kind != "function":
            kinds += ["count", "seen"]
    ops: list[Op] = []
    for kind in rng.choices(kinds, k=rng.randint(1, 6)):
        if kind == "send":
            target = rng.choice([*everyone, "nobody"]) if rng.random() < 0.2 else None
            form = rng.choices((0, 1, 2, 3, 4), (8, 3, 3, 1, 1))[0]
            ops.append(Op("send", form, rng.randint(0, 3), target))
        elif kind == "read":
            ops.append(Op("read", name=rng.choice(everyone)))
        else:
            ops.append(Op(kind, rng.randint(0, 4)))
    if rng.random() < 0.07:
        ops.insert(rng.randint(0, len(ops)), Op("raise", rng.randint(0, 4)))
    if not any(op.kind == "send" for op in ops) and rng.random() < 0.8:
        ops.append(Op("send", 0, 1))
    return tuple(ops)


def smaller(program: Program) -> list[Program]:
    """Programs with one thing less, to find the least one that still fails."""
    found: list[Program] = []
    for index, node in enumerate(program.nodes):
        for place in range(len(node.ops)):
            fewer = replace(node, ops=node.ops[:place] + node.ops[place + 1 :])
            found.append(replace(program, nodes=(*program.nodes[:index], fewer, *program.nodes[index + 1 :])))
    for index in range(len(program.groups)):
        groups = program.groups[:index] + program.groups[index + 1 :]
        found.append(_without_unreached(replace(program, groups=groups)))
    if program.output_from is not None:
        found.append(replace(program, output_from=None, intermediate_from=None))
    if program.value.hops > 1:
        found.append(replace(program, value=replace(cast("Any", program.value), hops=program.value.hops - 1)))
    return found


def _without_unreached(program: Program) -> Program:
    reached = {program.nodes[0].id}
    while True:
        more = {t for group in program.groups if set(group.sources) & reached for t in group.targets}
        if more <= reached:
            break
        reached |= more
    nodes = tuple(node for node in program.nodes if node.id in reached)
    groups = tuple(group for group in program.groups if set(group.sources) <= reached)
    if program.output_from is None:
        return replace(program, nodes=nodes, groups=groups)
    outputs = tuple(id for id in program.output_from if id in reached)
    between = tuple(id for id in program.intermediate_from or () if id in reached)
    return replace(program, nodes=nodes, groups=groups, output_from=outputs or None, intermediate_from=between or None)
