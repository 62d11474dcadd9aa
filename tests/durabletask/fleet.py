"""Workers and the HTTP API of a task hub, each in a process of its own, on a scheduler in the test's."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import signal
import sys
import uuid
from collections.abc import Iterator

from tests.durabletask.scheduler import Scheduler
from tests.host import gates, served

HEADER = f"{served.HEADER}\nfrom agent_framework import response_handler\n\n{gates.CODE}"


def loop(steps: int) -> str:
    """Give an app whose runs take so many steps, each with state of its own; the run "0" is held in the middle."""
    return f"""
STEPS = {steps}


class Step(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        run, number = text.split()
        told(f"{{run}} {{number}} {{os.getpid()}}")
        if run == "0" and number == "{steps // 2}":
            await held("middle")
        ctx.set_state(f"step {{number}}", number.zfill(4) * 500)
        if int(number) < STEPS:
            await ctx.send_message(f"{{run}} {{int(number) + 1}}")
        else:
            seen = [len(ctx.get_state(f"step {{number}}")) for number in range(1, STEPS + 1)]
            await ctx.yield_output(f"{{run}} {{sum(seen)}}")


here, there = Step("here"), Step("there")
flow = WorkflowBuilder(name="flow", start_executor=here, output_from="all")
app = AgentFunctionApp(workflow=flow.add_edge(here, there).add_edge(there, here).build())
"""


class Fleet:
    """The processes of a task hub.

    Args:
        folder: The app's folder.
        scheduler: The scheduler; its address is taken when a process is started.
        shared: The folder that they share.
        account: Instead, the connection string of the storage account that they share.
    """

    def __init__(
        self, folder: pathlib.Path, scheduler: Scheduler, shared: pathlib.Path | None = None, account: str = ""
    ) -> None:
        self.folder = folder
        self.shared = shared or folder / "shared"
        self.scheduler = scheduler
        self.account = account
        self.taskhub = f"fleet{uuid.uuid4().hex[:8]}" if account else "fleet"
        self._stack = contextlib.ExitStack()
        self._gate = self._stack.enter_context(gates.Gate())
        self.workers: list[served.Served] = []
        self._started: list[served.Served] = []

    def worker(self, *, connected: bool = True) -> served.Served:
        """Start a worker; by default wait until the scheduler knows it."""
        known = self.scheduler.connections
        made = self.start("worker")
        self.workers.append(made)
        if connected:
            made.expect(r"worker: scheduler")
            self.scheduler.until_connected(known + 1)
        return made

    def serve(self) -> str:
        """Start the HTTP API; gives where it starts."""
        return self.start("serve", "--port", "0").ready()

    def start(self, command: str, *options: str) -> served.Served:
        """Start a command of the hub."""
        arguments: list[str | pathlib.Path] = [sys.executable, "-m", "perdure.cli", command, self.folder, *options]
        arguments += ["--scheduler", self.scheduler.address, "--taskhub", self.taskhub]
        arguments += ["--payloads", "blob" if self.account else self.shared]
        account = {"AzureWebJobsStorage": self.account} if self.account else {}
        made = served.Served(arguments, {"GATE_PORT": self._gate.port, "PYTHONFAULTHANDLER": "1", **account})
        self._started.append(made)
        self._stack.callback(made.close)
        return made

    def holder(self, name: str) -> served.Served:
        """Wait until a worker is held in a step; gives that worker."""
        pids = self._gate.came(name)
        return next(worker for worker in self.workers if worker.process.pid in pids)

    def go(self) -> None:
        """Let go whoever is held."""
        self._gate.open()

    def show(self) -> None:
        """Print what each process has said, and where its threads are."""
        for one in self._started:
            if one.process.poll() is None:
                one.signal(signal.SIGABRT)
                one.ended()
            print(f"{one.process.args!r}\n{one.output}\n")

    def close(self) -> None:
        """End all processes."""
        self._stack.close()


@contextlib.contextmanager
def of(
    folder: pathlib.Path, scheduler: Scheduler, app: str, shared: pathlib.Path | None = None, *, account: str = ""
) -> Iterator[Fleet]:
    """Give the fleet of an app."""
    made = Fleet(served.write_app(folder, app, header=HEADER), scheduler, shared, account)
    try:
        yield made
    except AssertionError:
        made.show()
        raise
    finally:
        made.close()


def finish_over_a_kill(hub: Fleet, url: str, runs: int, steps: int) -> list[list[str]]:
    """Run ``loop(steps)`` so often, and kill the worker that is held in the middle: nothing recorded runs again.

    Gives run, number and process id of each step that ran.
    """
    for run in range(runs):
        assert served.post(url, f"{run} 1", run_id=f"r{run}").status_code == 202
    victim = hub.holder("middle")
    victim.kill()
    hub.go()
    outputs = [served.finished(url, f"r{run}")["output"] for run in range(runs)]
    assert outputs == [[f"{run} {steps * 2_000}"] for run in range(runs)]
    ran = [line.split() for line in served.ran(hub.folder)]
    times = collections.Counter((run, number) for run, number, _ in ran)
    assert len(times) == runs * steps
    again = {step for step, count in times.items() if count > 1}
    assert ("0", str(steps // 2)) in again
    # Under load a connection may break by itself, too: what its worker had in hand is in doubt, no more than that.
    cut_off = collections.Counter(hub.scheduler.cut_off)
    assert max(cut_off.values()) == 1, f"a run has one step in flight: {cut_off}"
    doubtful = collections.Counter(instance_id for _, instance_id in cut_off)
    for run in range(runs):
        ran_again = sum(count - 1 for (name, _), count in times.items() if name == str(run))
        assert ran_again <= doubtful[f"r{run}"], f"a recorded step of run {run} ran again: {ran}\n{cut_off}"
    return ran
