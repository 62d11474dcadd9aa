from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import pydantic
import pytest
from agent_framework import Executor, Message, Workflow, WorkflowBuilder, WorkflowContext, handler
from tests.workflow import support

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Inner:
    when: datetime.datetime
    colour: Colour
    price: decimal.Decimal = decimal.Decimal("1.10")


@dataclass(frozen=True)
class Outer:
    inner: Inner
    others: tuple[Inner, ...] = ()
    by_name: dict[str, Inner | None] = field(default_factory=dict)
    either: int | str | None = None


@dataclass
class Box(Generic[T]):
    content: T


class Address(pydantic.BaseModel):
    street: str
    number: int | None = None


class Person(pydantic.BaseModel):
    name: str
    addresses: list[Address] = []
    born: datetime.date | None = None


class Reply(pydantic.BaseModel, Generic[T]):
    body: T


class Point(NamedTuple):
    x: int
    y: float


class Options(TypedDict, total=False):
    depth: int
    mode: Literal["a", "b"]


class Node:
    """A plain class that refers to itself."""

    def __init__(self, name: str, next: Node | None = None) -> None:
        self.name = name
        self.next = next

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (other.name, other.next) == (self.name, self.next)

    __hash__ = None  # type: ignore[assignment]  # compared, never a key


WHEN = datetime.datetime(2026, 11, 22, 10, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
INNER = Inner(WHEN, Colour.BLUE)

VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "large int": 2**200,
    "float": 0.1,
    "infinity": float("inf"),
    "text": "text with \u0000 and \U0001f600",
    "bytes": b"\x00\xff" * 1000,
    "tuple": (1, ("a", None)),
    "nested tuple in list": [(1, 2), [3]],
    "set": {1, 2, 3},
    "frozenset": frozenset({"a"}),
    "dict with int keys": {1: "a", 2: "b"},
    "dict with tuple keys": {(1, 2): "a"},
    "empty": [],
    "datetime": WHEN,
    "date": WHEN.date(),
    "time": datetime.time(10, 30),
    "delta": datetime.timedelta(days=1, microseconds=5),
    "decimal": decimal.Decimal("0.10"),
    "uuid": uuid.UUID(int=5),
    "enum": Colour.RED,
    "int enum": Level.LOW,
    "nested dataclasses": Outer(INNER, (INNER, INNER), {"a": INNER, "b": None}, "either"),
    "optional member": Outer(INNER, either=None),
    "generic dataclass": Box(INNER),
    "generic of generic": Box(Box([1, None])),
    "model": Person(name="Ann", addresses=[Address(street="High", number=1)], born=WHEN.date()),
    "generic model": Reply[Person](body=Person(name="Ann")),
    "named tuple": Point(1, 2.0),
    "typed dict": {"depth": 1, "mode": "a"},
    "plain class": Node("a", Node("b")),
    "complex": 1 + 2j,
    "range": range(3),
}


class Carries(Executor):
    """Sends a value, keeps it in an attribute and in the shared state."""

    def __init__(self, id: str, name: str) -> None:
        super().__init__(id=id)
        self.name = name
        self.kept: Any = "nothing"

    @handler
    async def go(self, given: Any, ctx: WorkflowContext[Any]) -> None:
        value = VALUES[self.name]
        self.kept = value
        ctx.set_state("value", value)
        await ctx.send_message(value)


class Arrives(Executor):
    """Yields what arrived, and how the shared state has it."""

    @handler
    async def go(self, given: Any, ctx: WorkflowContext[Any, Any]) -> None:
        await ctx.yield_output([given, ctx.get_state("value"), ctx.state.has("value")])


@pytest.mark.parametrize("name", VALUES)
async def test_value_of_any_type_travels(name: str) -> None:
    """None messages, unions, optional and nested types, generic types, nested dataclasses all travel."""

    def build() -> Workflow:
        carries, arrives = Carries("carries", name), Arrives(id="arrives")
        return WorkflowBuilder(start_executor=carries).add_edge(carries, arrives).build()

    value = VALUES[name]
    result = await support.both(build, "go")
    assert result.outputs == [[value, value, True]]
    assert result.state == {"value": value}
    for arrived in (result.outputs[0][0], result.state["value"]):
        assert type(arrived) is type(value)
        assert repr(arrived) == repr(value) or isinstance(value, (set, Node))


class Typed(Executor):
    """Has a handler for each of several types; says which one a message went to."""

    @handler
    async def nothing(self, value: None, ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output("None")

    @handler
    async def either(self, value: int | str, ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(f"int or str {value!r}")

    @handler
    async def box(self, value: Box[int], ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(f"box {value!r}")

    @handler
    async def maybe(self, value: list[Address | None], ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(f"maybe addresses {value!r}")

    @handler
    async def reply(self, value: Reply[Person], ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(f"reply {value!r}")

    @handler
    async def table(self, value: dict[str, list[Inner]], ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(f"table {value!r}")

    @handler
    async def message(self, value: Message, ctx: WorkflowContext[Any, str]) -> None:
        await ctx.yield_output(f"message {value.text!r} {value.author_name}")


SENT: list[Any] = [
    None,
    5,
    "five",
    Box(1),
    [Address(street="High"), None],
    Reply[Person](body=Person(name="Ann")),
    {"a": [INNER]},
    Message("user", ["hello"], author_name="Ann"),
]


class SendsAll(Executor):
    @handler
    async def go(self, given: Any, ctx: WorkflowContext[Any]) -> None:
        for value in SENT:
            await ctx.send_message(value)


async def test_message_reaches_the_handler_of_its_type() -> None:
    """None messages, unions, optional and generic types reach the handler that they reach in process."""

    def build() -> Workflow:
        sends, typed = SendsAll(id="sends"), Typed(id="typed")
        return WorkflowBuilder(start_executor=sends).add_edge(sends, typed).build()

    result = await support.both(build, "go")
    reached = [output.split()[0] for output in result.outputs]
    assert reached == ["None", "int", "int", "box", "maybe", "reply", "table", "message"]


class Shares(Executor):
    """Sends one object twice and in two places."""

    @handler
    async def go(self, given: Any, ctx: WorkflowContext[Any]) -> None:
        one = [1]
        await ctx.send_message({"a": one, "b": one})
        one.append(2)
        ctx.set_state("one", one)
        one.append(3)


async def test_state_is_what_it_was_when_it_was_set() -> None:
    """A later change of an object does not change the shared state."""

    def build() -> Workflow:
        shares, arrives = Shares(id="shares"), Arrives(id="arrives")
        return WorkflowBuilder(start_executor=shares).add_edge(shares, arrives).build()

    result = await support.both(build, "go")
    assert result.state == {"one": [1, 2]}


class StateOps(Executor):
    """Goes through the whole interface of the state."""

    @handler
    async def go(self, step: int, ctx: WorkflowContext[Any, Any]) -> None:
        state = ctx.state
        said: list[Any] = []
        for key in ("kept", "gone", "never"):
            said.append((key, state.has(key), state.get(key, "default"), ctx.get_state(key)))
        if step == 1:
            state.set("kept", [1])
            state.set("gone", 1)
            state.set("brief", 1)
            state.delete("brief")
            said.append(state.has("brief"))
        elif step == 2:
            state.delete("gone")
            state.delete("gone")
            said.append((state.has("gone"), state.get("gone", 5), state.export_state()))
            state.import_state({"imported": {"a": 1}})
        elif step == 3:
            state.set("lost", 1)
            state.discard()
            said.append(state.has("lost"))
        elif step == 4:
            state.clear()
            said.append(state.has("kept"))
            state.set("last", None)
        try:
            state.delete("never")
        except KeyError as error:
            said.append(str(error))
        await ctx.yield_output(said)
        if step < 5:
            await ctx.send_message(step + 1)


async def test_state_keeps_its_interface() -> None:
    """ctx.get_state, ctx.set_state and ctx.state are what they are in process."""

    def build() -> Workflow:
        one, two = StateOps(id="one"), StateOps(id="two")
        return WorkflowBuilder(start_executor=one).add_edge(one, two).add_edge(two, one).build()

    def said(result: support.Result) -> list[Any]:
        # In process the state also holds the framework's own keys.
        return [[_user(item) for item in output] for output in result.outputs]

    expected = await support.in_process(build(), 1)
    for mode in support.MODES:
        result = await support.hosted_run(build, 1, mode=mode)
        assert result.failure == expected.failure
        assert said(result) == said(expected), mode
        assert result.state == expected.state


def _user(item: Any) -> Any:
    if isinstance(item, tuple) and isinstance(item[-1], dict):
        return (*item[:-1], {key: value for key, value in item[-1].items() if not key.startswith("_")})
    return item
