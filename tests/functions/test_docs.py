from __future__ import annotations

import pathlib
import re

from .conftest import Serve, Served

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "how-to" / "durable-functions.md"
WORKFLOW = """
from agent_framework import WorkflowBuilder, WorkflowContext, executor


@executor(id="only")
async def only(text: str, context: WorkflowContext[None, str]) -> None:
    await context.yield_output(text)


def build_workflow():
    return WorkflowBuilder(name="w", start_executor=only).build()


"""


async def test_the_example_of_the_page_runs_as_it_stands(serve: Serve) -> None:
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    served: Served = await serve(WORKFLOW + block[1])

    reply = await served.ask("POST", "/api/orders", content='{"item": "pen", "count": 3}')

    assert (await served.ended(reply.json()["id"]))["output"] == "3 x pen for 15"
    assert (await served.ask("POST", "/api/workflow/w/run?waitForResponse=true", content='"x"')).json()["output"] == [
        "x"
    ]


AGENTS = """
from perdure.testing import ScriptedChatClient

client = ScriptedChatClient(["A draft.", '{"good": false, "why": "it is short"}', "A longer draft."])
"""


async def test_the_example_of_agents_in_an_orchestration_runs_as_it_stands(serve: Serve) -> None:
    page = PAGE.read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:2]
    imports = first.partition("\napp = ")[0]
    served: Served = await serve(imports + AGENTS + second)

    assert await served.output("write", '"Write of the sea."') == "A longer draft."
