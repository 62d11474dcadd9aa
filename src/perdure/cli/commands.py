"""The commands and their options."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from perdure import _version

if TYPE_CHECKING:
    from perdure.deployment import arm


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version.__version__, message="perdure %(version)s")
def cli() -> None:
    """Agent Framework workflows as durable HTTP services, on this machine."""


@cli.command()
@click.argument("place", default=".", metavar="[FOLDER|FILE]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on; 0 takes a free one.  [7071]")
@click.option("--host", help="The address to listen on.  [127.0.0.1]")
@click.option("--hub", metavar="PATH", help="The task hub's folder.  [FOLDER/.perdure/<task hub>]")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option("--replay", is_flag=True, help="Run workflows as Azure does: by the official SDK, from their history.")
def start(place: str, port: int | None, host: str | None, hub: str | None, log_json: bool, replay: bool) -> None:
    """Host the app of a folder: its engine and its HTTP API."""
    from perdure.cli import start as command

    command.start(place, port=port, host=host, hub=hub, log_json=log_json, replay=replay)


def _hush_grpc() -> None:
    """Have gRPC write no lines of its own about connections; it looks at this when it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


_SCHEDULER = click.option(
    "--scheduler",
    metavar="URL",
    envvar="PERDURE_SCHEDULER",
    required=True,
    help="The scheduler's endpoint: https://... with an Azure identity, http://... without.  [$PERDURE_SCHEDULER]",
)
_TASKHUB = click.option("--taskhub", metavar="NAME", help="The task hub.  [that of the app's settings]")
_PAYLOADS = click.option(
    "--payloads",
    metavar="DIR|blob",
    envvar="PERDURE_PAYLOADS",
    help="What all processes of the hub share: a folder, or blob, for the account of AzureWebJobsStorage."
    "  [blob for https://..., else FOLDER/.perdure/shared]",
)


@cli.command()
@click.argument("place", default=".", metavar="[FOLDER|FILE]")
@_SCHEDULER
@_TASKHUB
@_PAYLOADS
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Steps at a time.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
def worker(
    place: str, scheduler: str, taskhub: str | None, payloads: str | None, concurrency: int, log_json: bool
) -> None:
    """Run an app's workflows as a worker of Durable Task Scheduler; several share the work."""
    _hush_grpc()
    from perdure.cli import scheduler as command

    command.work(place, scheduler, taskhub, payloads, concurrency=concurrency, log_json=log_json)


@cli.command()
@click.argument("place", default=".", metavar="[FOLDER|FILE]")
@_SCHEDULER
@_TASKHUB
@_PAYLOADS
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on; 0 takes a free one.  [7071]")
@click.option("--host", help="The address to listen on.  [127.0.0.1]")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
def serve(
    place: str,
    scheduler: str,
    taskhub: str | None,
    payloads: str | None,
    port: int | None,
    host: str | None,
    log_json: bool,
) -> None:
    """Serve the HTTP API in front of workers of Durable Task Scheduler."""
    _hush_grpc()
    from perdure.cli import scheduler as command

    command.serve(place, scheduler, taskhub, payloads, port=port, host=host, log_json=log_json)


@cli.command()
@click.argument("workflow")
@click.argument("value", default="-", metavar="[INPUT|-|@FILE]")
@click.option("--app", "place", default=".", metavar="FOLDER|FILE", help="The app.  [.]")
@click.option("--hub", metavar="PATH", help="The task hub's folder.  [FOLDER/.perdure/<task hub>]")
@click.option("--run-id", help="The run's id; the same id, input and options again give the same run.")
@click.option("--tool", "tools", multiple=True, metavar="NAME", help="One of the app's runtime_tools; repeat for more.")
@click.option("--function-invocation-kwargs", metavar="JSON|@FILE", help="What tools are given: an object.")
@click.option("--client-kwargs", metavar="JSON|@FILE", help="What chat clients are given: an object.")
@click.option("--stream", is_flag=True, help="Show what agents say, while they say it, on standard error.")
def run(
    workflow: str,
    value: str,
    place: str,
    hub: str | None,
    run_id: str | None,
    tools: tuple[str, ...],
    function_invocation_kwargs: str | None,
    client_kwargs: str | None,
    stream: bool,
) -> None:
    """Run a workflow once: progress on standard error, its output as JSON on standard output.

    INPUT is JSON or text; - (or nothing) reads it from standard input, @FILE from a file. Where a host has the
    hub, the run goes there; else this process hosts it. Exit code: 0 completed, 1 failed, 2 usage, 3 parked.
    """
    from perdure.cli import run as command

    given = command.Given(tools, function_invocation_kwargs, client_kwargs, stream)
    sys.exit(command.run(workflow, value, given, place=place, hub=hub, run_id=run_id))


@cli.command()
@click.argument("folder")
def new(folder: str) -> None:
    """Make a folder with a small app that works, to start from."""
    from perdure.cli import new as command

    command.new(folder)


@cli.command()
def demo() -> None:
    """Host the e-mail sample in a temporary place, send it two mails, show what became of them."""
    from perdure.cli import demo as command

    command.demo()


@cli.group()
def azure() -> None:
    """An app's way to Azure Functions."""


@azure.command()
@click.argument("place", default=".", metavar="[FOLDER]")
@click.option("--plan", type=click.Choice(["flex", "premium"]), default="flex", show_default=True, help="The plan.")
@click.option(
    "--backend",
    type=click.Choice(["storage", "scheduler"]),
    default="storage",
    show_default=True,
    help="Where Durable Functions keeps its own: Azure Storage, or Durable Task Scheduler.",
)
@click.option("--wheel", metavar="PATH", help="The wheel of perdure to publish with the app.  [what runs here]")
def init(place: str, plan: arm.Plan, backend: arm.Backend, wheel: str | None) -> None:
    """Put the files into an app's folder that it needs on Azure; what is there stays."""
    from perdure.cli import azure as command

    command.init(place, plan=plan, backend=backend, wheel=wheel)


@cli.command()
@click.argument("place", default=".", metavar="[FOLDER|FILE]")
def doctor(place: str) -> None:
    """Look over an app and this machine for what would fail on Azure. Exit code: 1 if something would."""
    from perdure.cli import doctor as command

    sys.exit(command.doctor(place))
