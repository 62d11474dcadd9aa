from __future__ import annotations

import asyncio
import functools
import logging
import queue
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentContext,
    AgentExecutor,
    AgentMiddleware,
    ContextProvider,
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
)
from tests.workflow import support

from perdure import testing


@dataclass
class Notes:
    """An attribute with parts."""

    lines: list[str] = field(default_factory=list)
    by_key: dict[str, list[int]] = field(default_factory=dict)


class Keeps(Executor):
    """Keeps what it was given in attributes of many kinds, in place and anew."""

    shared_by_class: int = 0

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.numbers: list[int] = []
        self.nested = {"a": {"b": [0]}}
        self.notes = Notes()
        self.unset: str | None = None
        self.tags: set[str] = set()

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        self.numbers.append(number)
        self.nested["a"]["b"][0] += number
        self.notes.lines.append(f"line {number}")
        self.notes.by_key.setdefault("k", []).append(number)
        self.unset = f"set at {number}"
        self.tags.add(str(number))
        self.shared_by_class += 1
        vars(self)["made_later"] = number
        await asyncio.sleep(0)
        if number % 10 < 4:
            await ctx.send_message(number + 1)
            return
        await ctx.yield_output(
            [self.numbers, self.nested["a"]["b"][0], self.notes, self.unset, sorted(self.tags), self.shared_by_class]
        )


def _loop(make: Callable[[str], Executor]) -> Workflow:
    one, two = make("one"), make("two")
    return WorkflowBuilder(start_executor=one).add_edge(one, two).add_edge(two, one).build()


async def test_attributes_are_those_of_the_run() -> None:
    """Instance attributes of an executor belong to one run, and go on from step to step."""
    result = await support.both(lambda: _loop(Keeps), 0)
    (output,) = result.outputs
    assert output == [
        [0, 2, 4],
        6,
        Notes(["line 0", "line 2", "line 4"], {"k": [0, 2, 4]}),
        "set at 4",
        ["0", "2", "4"],
        3,
    ]


@pytest.mark.parametrize("mode", support.MODES)
async def test_attributes_never_leak_between_concurrent_runs(mode: support.Mode) -> None:
    """Instance attributes of an executor belong to one run: none leaks to another run."""
    process = support.Process(lambda: _loop(Keeps))
    results = await support.gather_runs(process, [0, 10, 20, 30], mode=mode)
    assert [result.outputs[0][0] for result in results] == [[n, n + 2, n + 4] for n in (0, 10, 20, 30)]
    template = process.hosted.workflow.executors["one"]
    assert isinstance(template, Keeps)
    assert (template.numbers, template.notes, template.unset) == ([], Notes(), None)


async def test_run_after_run_starts_afresh() -> None:
    """Instance attributes of an executor belong to one run: one that ended leaves nothing."""
    process = support.Process(lambda: _loop(Keeps))
    for _ in range(3):
        assert (await process.run(0)).outputs[0][0] == [0, 2, 4]
    assert not process.bound.activities._live  # pyright: ignore[reportPrivateUsage]


class Hooked(Executor):
    """Carries a queue by its own hooks."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.total = 0

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        self.waiting.put(number)
        self.total += number
        if number < 5:
            await ctx.send_message(number + 1)
        else:
            await ctx.yield_output((self.total, self.waiting.qsize()))

    async def on_checkpoint_save(self) -> dict[str, Any]:
        waiting = [self.waiting.get() for _ in range(self.waiting.qsize())]
        for item in waiting:
            self.waiting.put(item)
        return {"waiting": waiting, "total": self.total}

    async def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        self.waiting = queue.SimpleQueue()
        for item in state["waiting"]:
            self.waiting.put(item)
        self.total = state["total"]


async def test_checkpoint_hooks_carry_attributes_across_restarts_and_processes() -> None:
    """on_checkpoint_save and on_checkpoint_restore carry attributes across restarts and processes."""
    for mode in support.MODES:
        if mode == "steady":
            continue
        assert (await support.hosted_run(lambda: _loop(Hooked), 0, mode=mode)).outputs == [(9, 3)]


class Slotted(Executor):
    """Keeps one attribute in a slot."""

    __slots__ = ("count",)

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.count = 0

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        self.count += 1
        if number < 5:
            await ctx.send_message(number + 1)
        else:
            await ctx.yield_output(self.count)


async def test_attribute_in_a_slot_is_carried() -> None:
    """Instance attributes belong to one run and go on from step to step, those in slots too."""
    assert (await support.both(lambda: _loop(Slotted), 0)).outputs == [3]


class Deletes(Executor):
    """Deletes an attribute that it was built with, and looks for it afterwards."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.first: int | None = 1

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        there = hasattr(self, "first")
        if there:
            del self.first
        if number < 5:
            await ctx.send_message(number + 1)
        else:
            await ctx.yield_output(there)


async def test_attribute_that_was_deleted_stays_deleted() -> None:
    """Instance attributes belong to one run and go on from step to step: a deleted one too."""
    assert (await support.both(lambda: _loop(Deletes), 0)).outputs == [False]


class Odd:
    """Answers every name, and refuses to be looked at closely."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"odd {name}"


class Copied:
    """Says itself how it is copied."""

    def __init__(self) -> None:
        self.copies = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Copied:
        made = Copied()
        made.copies = self.copies + 1
        return made


def _count() -> Iterator[int]:
    yield from range(100)


class Holds(Executor):
    """Holds things that cannot be copied or encoded."""

    def __init__(self, id: str, path: str) -> None:
        super().__init__(id=id)
        self.lock = threading.Lock()
        self.rlock = threading.RLock()
        self.semaphore = threading.Semaphore(2)
        self.async_lock = asyncio.Lock()
        self.async_semaphore = asyncio.Semaphore(2)
        self.logger = logging.getLogger("holds")
        self.file = open(path, "rb")  # noqa: SIM115
        self.sockets = socket.socketpair()
        self.made = lambda value: value + 1
        self.method = self.double
        self.partial = functools.partial(self.double, 4)
        self.generator = _count()
        self.pool = ThreadPoolExecutor(1)
        self.odd = Odd()
        self.copied = Copied()
        self.weak = weakref.ref(self.odd)
        self.client = testing.ScriptedChatClient(["hello"])
        self.exception = ValueError("kept", 1)
        self.kind: type = dict
        self.factor = 2

    def double(self, value: int) -> int:
        self.factor += 1
        return value * 2

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        with self.lock, self.rlock, self.semaphore:
            self.logger.debug("held")
        async with self.async_lock, self.async_semaphore:
            doubled = await asyncio.get_running_loop().run_in_executor(self.pool, self.made, number)
        self.method(1)
        self.partial()
        if number < 5:
            await ctx.send_message(number + 1)
        else:
            said = [doubled, self.odd.name, str(self.exception), self.factor, self.kind(), self.copied.copies > 0]
            await ctx.yield_output(said)

    def close(self) -> None:
        self.file.close()
        for item in self.sockets:
            item.close()
        self.pool.shutdown()


async def test_executor_may_hold_what_cannot_be_copied(tmp_path: Any) -> None:
    """An executor may hold locks, loggers, files, sockets, lambdas, generators, clients and pools."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    holds = [Holds(name, str(path)) for name in ("one", "two")]
    built = WorkflowBuilder(start_executor=holds[0]).add_edge(holds[0], holds[1]).add_edge(holds[1], holds[0]).build()
    process = support.Process(lambda: built)
    try:
        for mode in ("steady", "rebuilt"):
            result = await process.run(0, mode=mode)
            assert result.failure is None
            assert result.outputs == [[6, "odd name", "('kept', 1)", 8, {}, True]]
            assert holds[0].factor == 2
            assert result.warnings("executor_state") == []
    finally:
        for item in holds:
            item.close()


class Cached:
    """Cannot be encoded."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class Caches(Executor):
    """Makes a client on first use; holds another thing from the start that it never changes."""

    def __init__(self, id: str, *, change: bool = True) -> None:
        super().__init__(id=id)
        self.lazy: Any = None
        self.fixed = (threading.Lock(), _count())
        self.change = change

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        if self.lazy is None and self.change:
            self.lazy = _count()
        if number < 5:
            await ctx.send_message(number + 1)
        else:
            await ctx.yield_output(next(self.lazy) if self.lazy is not None else None)


async def test_attribute_that_cannot_be_encoded_stays_and_is_named_once() -> None:
    """An attribute that changes and cannot be encoded stays with this process and is named once in a warning."""
    result = await support.hosted_run(lambda: _loop(Caches), 0)
    assert result.outputs == [0]
    assert ["changed lazy," in data["data"] for data in result.warnings("executor_state")] == [True, True]


async def test_attribute_that_does_not_change_is_no_error_where_executor_state_is_strict() -> None:
    """strict_executor_state refuses what changed, not what merely cannot be encoded."""

    def build() -> Workflow:
        return _loop(functools.partial(Caches, change=False))

    for mode in support.MODES:
        assert (await support.hosted_run(build, 0, mode=mode, strict_executor_state=True)).failure is None
    failure = (await support.hosted_run(lambda: _loop(Caches), 0, strict_executor_state=True)).failure
    assert failure is not None
    assert "lazy changed and cannot be encoded" in failure[1]


class Counting(AgentMiddleware):
    """Middleware with a state of its own."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def process(self, context: AgentContext, call_next: Callable[[], Awaitable[None]]) -> None:
        self.calls.append(context.messages[-1].text)
        await call_next()
        assert len(self.calls) <= 2, f"another run's calls: {self.calls}"


class Remembers(ContextProvider):
    """A context provider with a state of its own and one in the session."""

    def __init__(self) -> None:
        super().__init__("remembers")
        self.turns = 0

    async def before_run(self, *, agent: Any, session: Any, context: Any, state: dict[str, Any]) -> None:
        self.turns += 1
        state["turns"] = state.get("turns", 0) + 1
        assert self.turns <= 2, "another run's turns"


def _agents() -> Workflow:
    def answer(messages: Any, options: Any) -> str:
        return f"{len(messages)} messages, the first {messages[0].text}"

    def agent(name: str) -> AgentExecutor:
        made = Agent(
            testing.ScriptedChatClient(answer),
            name=name,
            id=name,
            middleware=[Counting()],
            context_providers=[Remembers()],
        )
        return AgentExecutor(made, id=name)

    one, two = agent("one"), agent("two")
    return (
        WorkflowBuilder(start_executor=one, output_from=[two])
        .add_edge(one, two)
        .add_edge(two, one, condition=lambda said: len(said.full_conversation) < 4)
        .build()
    )


async def test_sessions_and_middleware_never_leak_between_concurrent_runs() -> None:
    """Sessions, middleware and context providers of agents belong to one run."""
    process = support.Process(_agents)
    texts = [f"run {number}" for number in range(6)]
    expected = [output.text.replace("run 0", "{}") for output in (await support.in_process(_agents(), "run 0")).outputs]
    for _ in range(2):
        results = await support.gather_runs(process, texts)
        for text, result in zip(texts, results, strict=True):
            assert result.failure is None
            assert [output.text.replace(text, "{}") for output in result.outputs] == expected


async def test_agents_go_on_in_another_process_with_their_sessions() -> None:
    """Sessions of agents are carried across restarts and processes."""
    expected = [output.text for output in (await support.in_process(_agents(), "hello")).outputs]
    for mode in support.MODES:
        result = await support.hosted_run(_agents, "hello", mode=mode)
        assert (result.failure, [output.text for output in result.outputs]) == (None, expected)


class LazyLock(Executor):
    """Makes a lock for all runs on first use, as a cached async client would."""

    lock: asyncio.Lock | None = None
    loop: asyncio.AbstractEventLoop | None = None

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        cls = type(self)
        if cls.lock is None:
            cls.lock, cls.loop = asyncio.Lock(), asyncio.get_running_loop()
        async with cls.lock:
            await asyncio.sleep(0)
            assert cls.loop is asyncio.get_running_loop()
        if number < 5:
            await ctx.send_message(number + 1)
        else:
            await ctx.yield_output("done")


async def test_all_executors_share_one_loop() -> None:
    """All executors of a process share one event loop: cached async clients and locks keep working."""
    LazyLock.lock = LazyLock.loop = None
    process = support.Process(lambda: _loop(LazyLock))
    results = await support.gather_runs(process, [0] * 8)
    assert [result.outputs for result in results] == [["done"]] * 8


class Limited(Executor):
    """Lets one run at a time into its model, by a semaphore made when it was built."""

    inside = 0
    most = 0

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.gate = asyncio.Semaphore(1)

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        async with self.gate:
            cls = type(self)
            cls.inside += 1
            cls.most = max(cls.most, cls.inside)
            for _ in range(5):
                await asyncio.sleep(0)
            cls.inside -= 1
        await ctx.yield_output(number)


async def test_lock_that_an_executor_was_built_with_is_one_for_all_runs() -> None:
    """Locks are shared by all runs, as they are by all users of one executor in process."""
    Limited.inside = Limited.most = 0
    process = support.Process(lambda: WorkflowBuilder(start_executor=Limited(id="limited")).build())
    await support.gather_runs(process, [1, 2, 3, 4])
    assert Limited.most == 1


class Meets(Executor):
    """Ends only when as many runs are in it as there are."""

    barrier = asyncio.Barrier(3)

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        await type(self).barrier.wait()
        await ctx.yield_output(number)


async def test_runs_of_one_executor_go_on_side_by_side() -> None:
    """Each run has its own executors: one run does not wait for another."""
    Meets.barrier = asyncio.Barrier(3)
    process = support.Process(lambda: WorkflowBuilder(start_executor=Meets(id="meets")).build())
    async with asyncio.timeout(20):
        assert [r.outputs for r in await support.gather_runs(process, [1, 2, 3])] == [[1], [2], [3]]


async def test_workflow_that_ran_in_process_before_is_hosted_all_the_same() -> None:
    """A workflow that ran in process before, on another loop, is hosted all the same, its runs side by side."""
    Meets.barrier = asyncio.Barrier(1)
    workflow = WorkflowBuilder(start_executor=Meets(id="meets")).build()
    await workflow.run(1)
    Meets.barrier = asyncio.Barrier(3)
    async with asyncio.timeout(20):
        results = await support.gather_runs(support.Process(lambda: workflow), [1, 2, 3])
    assert [result.outputs for result in results] == [[1], [2], [3]]


class Reads(Executor):
    """Reads everything, writes nothing."""

    @handler
    async def read(self, number: int, ctx: WorkflowContext[Any, Any]) -> None:
        for key in ("list", "object", "bytes", "model"):
            value = ctx.get_state(key)
            if isinstance(value, list):
                value.append("changed by a reader")
        if number == 2:
            ctx.set_state("own", number)


class Writes(Executor):
    """Changes every key."""

    @handler
    async def write(self, number: int, ctx: WorkflowContext[Any, Any]) -> None:
        for key, value in AFTER.items():
            ctx.set_state(key, value)


class Seeds(Executor):
    """Sets every key, then lets the others loose."""

    @handler
    async def seed(self, number: int, ctx: WorkflowContext[Any, Any]) -> None:
        for key, value in BEFORE.items():
            ctx.set_state(key, value)
        await ctx.send_message(1, target_id="reads")
        await ctx.send_message(2, target_id="reads")
        await ctx.send_message(3, target_id="writes")


BEFORE: dict[str, Any] = {
    "list": [1],
    "object": Notes(["a"]),
    "bytes": b"x" * 5000,
    "model": {"a": {1, 2}},
    "none": None,
}
AFTER: dict[str, Any] = {"list": [2], "object": Notes(["b"]), "bytes": b"y" * 5000, "model": {"a": {3}}, "none": 0}


@pytest.mark.parametrize("writer_first", [True, False])
async def test_parallel_executor_that_did_not_write_a_key_never_changes_it(writer_first: bool) -> None:
    """A parallel executor that did not write a key never changes it, whatever type the value has."""

    def build() -> Workflow:
        seeds, reads, writes = Seeds(id="seeds"), Reads(id="reads"), Writes(id="writes")
        targets: list[Any] = [writes, reads] if writer_first else [reads, writes]
        return WorkflowBuilder(start_executor=seeds).add_fan_out_edges(seeds, targets).build()

    for mode in support.MODES:
        result = await support.hosted_run(build, 0, mode=mode, on_state_conflict="fail")
        assert result.failure is None
        assert result.state == {**AFTER, "own": 2}


@pytest.mark.parametrize("size", [1, 60])
@pytest.mark.parametrize("policy", ["warn", "fail"])
async def test_two_siblings_that_write_one_key(policy: Any, size: int) -> None:
    """Where two siblings wrote one key the later in canonical order wins and an event says so, or the run fails."""

    def build() -> Workflow:
        seeds, one, two = Seeds(id="seeds"), Fills("reads", size), Fills("writes", size)
        return WorkflowBuilder(start_executor=seeds).add_fan_out_edges(seeds, [one, two]).build()

    for mode in support.MODES:
        result = await support.hosted_run(build, 0, mode=mode, on_state_conflict=policy)
        if policy == "fail":
            assert result.failure is not None
            assert result.failure[0] == "StateConflict"
            assert "key0" in result.failure[1]
        else:
            assert result.state["key0"] == "writes"
            assert len(result.warnings("state_conflict")) == size


class Fills(Executor):
    """Writes many keys."""

    def __init__(self, id: str, size: int) -> None:
        super().__init__(id=id)
        self.size = size

    @handler
    async def write(self, number: int, ctx: WorkflowContext[Any, Any]) -> None:
        for index in range(self.size):
            ctx.set_state(f"key{index}", self.id)


class Closes(Executor):
    """Changes itself through a function made when it was built, and through a tool of its agent."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.count = 0
        self.looked_up: list[str] = []
        self.bump: Callable[[], None] = lambda: setattr(self, "count", self.count + 1)
        client = testing.ScriptedChatClient(
            lambda messages, options: (
                "done" if messages[-1].role == "tool" else testing.tool_call("look_up", {"word": messages[-1].text})
            )
        )
        self.agent = Agent(client, name="inner", tools=[self.look_up])

    def look_up(self, word: str) -> str:
        """Look a word up."""
        self.looked_up.append(word)
        return word

    @handler
    async def keep(self, number: int, ctx: WorkflowContext[int, Any]) -> None:
        self.bump()
        await self.agent.run(f"word {number}")
        if number % 10 < 4:
            await ctx.send_message(number + 1)
        else:
            await ctx.yield_output([self.count, self.looked_up])


@pytest.mark.parametrize("mode", support.MODES)
async def test_functions_and_tools_act_on_the_executor_of_their_run(mode: support.Mode) -> None:
    """Instance attributes belong to one run, those that a lambda or a tool of the executor's own changes too."""
    process = support.Process(lambda: _loop(Closes))
    results = await support.gather_runs(process, [0, 10], mode=mode)
    assert [result.outputs for result in results] == [
        [[3, [f"word {number}" for number in (start, start + 2, start + 4)]]] for start in (0, 10)
    ]
    assert (await support.in_process(_loop(Closes), 0)).outputs == results[0].outputs


class Keyed(Executor):
    """Sets a key."""

    def __init__(self, id: str, key: Any) -> None:
        super().__init__(id=id)
        self.key = key

    @handler
    async def go(self, number: int, ctx: WorkflowContext[Any, Any]) -> None:
        assert ctx.get_state(self.key) is None
        ctx.set_state(self.key, number)


@pytest.mark.parametrize("key", [5, ("a", 1), None, "\x00executor:keyed", "half \ud83d"])
async def test_key_that_cannot_be_kept_is_refused(key: Any) -> None:
    """A key of the shared state that is no text, or would reach perdure's own, fails the run with what to do."""
    failure = (await support.hosted_run(lambda: WorkflowBuilder(start_executor=Keyed("keyed", key)).build(), 1)).failure
    assert failure is not None
    assert failure[0] == "CodecError"
    assert "The shared state key" in failure[1]
