"""kill -9 of a host amid a function: what has returned is not run again, what was asked is not asked twice."""

from __future__ import annotations

import pathlib

from tests.host import served

HEADER = served.HEADER.replace(
    "from agent_framework import ", "from agent_framework import RunContext, step, workflow, "
)

APP = """
async def perhaps_hang(name: str) -> None:
    told(name)
    if os.environ.get("HANGS") == name:
        await asyncio.Event().wait()


@step
async def first(text: str) -> str:
    await perhaps_hang("first")
    return text + "1"


@step
async def beside(text: str, name: str) -> str:
    await perhaps_hang(name)
    return text + name


@step
async def last(text: str) -> str:
    await perhaps_hang("last")
    return text + "!"


@workflow
async def flow(text: str, ctx: RunContext) -> str:
    text = await first(text)
    parts = await asyncio.gather(beside(text, "quick"), beside(text, "slow"))
    said = await ctx.request_info(parts, str)
    return await last(" ".join(parts) + said)


app = AgentFunctionApp(workflow=flow)
"""


def superstep(url: str, number: int) -> None:
    """Wait until a superstep is over."""
    over = 0
    for line in served.events(url, "r"):
        over += line == "event: superstep_completed"
        if over == number:
            return
    raise AssertionError(f"the run ended after {over} supersteps")


def test_steps_that_returned_before_a_kill_are_not_run_again(tmp_path: pathlib.Path) -> None:
    folder = served.write_app(tmp_path / "app", APP, header=HEADER)
    with served.start(folder, HANGS="slow") as host:
        served.post(host.url, "a", run_id="r")
        superstep(host.url, 2)
        host.kill()
    assert served.ran(folder) == ["first", "quick", "slow"]

    with served.start(folder) as host:
        assert any(line == "event: parked" for line in served.events(host.url, "r"))
        (asked,) = served.status(host.url, "r")["pendingHumanInputRequests"]
        host.kill()
    assert served.ran(folder) == ["first", "quick", "slow", "slow"], "only what was under way is run again"

    with served.start(folder, HANGS="last") as host:
        (again,) = served.status(host.url, "r")["pendingHumanInputRequests"]
        assert again["requestId"] == asked["requestId"]
        url = f"{host.url}/workflow/flow/respond/r/{asked['requestId']}"
        assert served.http.post(url, json="?").status_code == 200
        # The answer is taken in, and what follows has begun.
        assert any(line == "event: superstep_started" for line in served.events(host.url, "r"))
        host.kill()

    with served.start(folder) as host:
        url = f"{host.url}/workflow/flow/respond/r/{asked['requestId']}"
        assert served.http.post(url, json="another").status_code == 409
        output = served.post(host.url, "a", run_id="r", wait=20).json()["output"]
        served.stop(host)

    assert output == ["a1quick a1slow?!"]
    assert served.ran(folder)[:4] == ["first", "quick", "slow", "slow"]
    assert set(served.ran(folder)[4:]) == {"last"}
