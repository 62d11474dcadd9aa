"""Users' values and executors' own state, from step to step, crash to restart, and process to process."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler
from typing_extensions import override

from perdure import AgentFunctionApp
from perdure.hosts.local import host as local

from . import served

OWN_CLASSES = """
    class Colour(__import__("enum").Enum):
        RED = "red"


    @dataclass
    class Item:
        name: str
        colour: Colour
        parts: tuple[Item, ...] = ()


    class Basket:
        def __init__(self) -> None:
            self.items: list[Item] = []


    @executor(id="fill")
    async def fill(text: str, ctx: WorkflowContext[Item]) -> None:
        basket = Basket()
        item = Item(text, Colour.RED, (Item("part", Colour.RED),))
        basket.items += [item, item]
        ctx.set_state("basket", {"mine": basket})
        await ctx.send_message(item)


    @executor(id="look")
    async def look(item: Item, ctx: WorkflowContext[Never, str]) -> None:
        told("look")
        if (HERE / "die").exists():
            os._exit(9)
        basket = ctx.get_state("basket")["mine"]
        assert isinstance(basket, Basket) and basket.items == [item, item]
        assert item.colour is Colour.RED and isinstance(item.parts[0], Item)
        await ctx.yield_output(f"{len(basket.items)} {item.name}")


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=fill).add_edge(fill, look).build())
"""


def test_a_class_of_the_app_survives_in_a_fresh_process(tmp_path: pathlib.Path) -> None:
    folder = served.write_app(tmp_path / "app", OWN_CLASSES)
    (folder / "die").write_text("")
    with served.start(folder) as host:
        with contextlib.suppress(httpx.TransportError):
            served.post(host.url, "pear", run_id="r")
        assert host.ended() == 9, host.output
    (folder / "die").unlink()
    with served.start(folder) as host:
        ended = served.finished(host.url, "r")
        assert ended["output"] == ["2 pear"], ended
    assert served.ran(folder) == ["look", "look"]


@executor(id="careless")
async def careless(text: str, ctx: WorkflowContext[Any]) -> None:
    if text == "state":
        ctx.set_state("handle", {"deep": [1, object()]})
    else:
        await ctx.send_message({"connection": (number for number in range(3))})


@executor(id="taker")
async def taker(value: Any, ctx: WorkflowContext[Any, str]) -> None:
    await ctx.yield_output("taken")


@pytest.mark.parametrize(
    ("text", "names"), [("state", ["'handle'", "object"]), ("message", ["executor 'careless'", "generator"])]
)
async def test_a_value_that_cannot_be_encoded_is_named_with_its_key_its_type_and_the_remedy(
    text: str, names: list[str]
) -> None:
    workflow = WorkflowBuilder(name="flow", start_executor=careless).add_edge(careless, taker).build()
    async with local.LocalHost(AgentFunctionApp(workflow=workflow)) as host:
        with pytest.raises(local.RunFailed) as failed:
            await host.run("flow", text)
    told = failed.value.failure.message
    for name in names:
        assert name in told
    assert "register" in told or "types=" in told
    assert "perdure/" not in failed.value.failure.detail


class Gate:
    """Lets a run stand still in a step."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()


class Attributed(Executor):
    """Changes its attributes as it goes."""

    def __init__(self, gate: Callable[[int], Gate | None]) -> None:
        super().__init__(id="attributed")
        self.calls = 0
        self.seen: list[int] = []
        self.note: str | None = "built"
        self.gate = gate

    @handler
    async def go(self, number: int, ctx: WorkflowContext[int, str]) -> None:
        if (gate := self.gate(number)) is not None:
            gate.reached.set()
            await gate.open.wait()
        self.calls += 1
        self.seen.append(number)
        if number == 2:
            self.note = None
        if number < 4:
            await ctx.send_message(number + 1)
        else:
            await ctx.yield_output(f"{self.calls} {self.seen} {self.note}")


class Hooked(Attributed):
    """Saves what it wants to keep in its own form."""

    restored = 0

    @override
    async def on_checkpoint_save(self) -> dict[str, Any]:
        return {"c": self.calls, "s": self.seen, "n": self.note}

    @override
    async def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        type(self).restored += 1
        self.calls, self.seen, self.note = state["c"], state["s"], state["n"]


def attributed(kind: type[Attributed], gate: Callable[[int], Gate | None]) -> Workflow:
    made = kind(gate)
    return WorkflowBuilder(name="flow", start_executor=made).add_edge(made, made).build()


@pytest.mark.parametrize("kind", [Attributed, Hooked])
@pytest.mark.parametrize("how", ["crash", "restart"])
async def test_what_an_executor_remembers_survives_a_crash_and_a_restart(
    kind: type[Attributed], how: str, tmp_path: pathlib.Path
) -> None:
    gates = {3: Gate()}
    app = AgentFunctionApp(workflow=attributed(kind, gates.get))
    async with local.LocalHost(app, hub=tmp_path / "hub") as host:
        run = await host.start("flow", 1)
        await gates[3].reached.wait()
        if how == "crash":
            await host.crash()
        gates.clear()
        Hooked.restored = 0
        await host.restart()
        assert await host.outputs(run) == ["4 [1, 2, 3, 4] None"]
        assert Hooked.restored == (1 if kind is Hooked else 0)
        assert await host.run("flow", 3) == ["2 [3, 4] built"], "what one run did shows in another"
