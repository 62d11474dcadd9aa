"""``perdure demo``: the e-mail sample, hosted in a temporary place and tried."""

from __future__ import annotations

import asyncio
import importlib.resources
import os
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from perdure import errors
from perdure.cli import remote, start
from perdure.hosts.local import loading, logs, settings

WAIT_SECONDS = 30
MAILS = {
    "a prize scam": "URGENT! You have won $1,000,000! Click here to claim your prize now.",
    "a meeting reminder": "Hi! A reminder that the team meeting is on Monday at 10. Could you bring the figures?",
}


def demo() -> None:
    """Host the sample with a free port, send it the mails by HTTP, and print what became of them.

    On a terminal the host stays until Ctrl-C.

    Raises:
        PerdureError: If a mail came to no good end.
    """
    folder = sample()
    # No model is asked, whatever keys the environment has.
    os.environ["CHAT_CLIENT"] = "offline"
    with tempfile.TemporaryDirectory(prefix="perdure-demo-", ignore_cleanup_errors=True) as hub:
        told = settings.load(folder, {}, hub=Path(hub), port=0)
        asyncio.run(_show(folder, told))


def sample() -> Path:
    """Give the sample's folder: in the checkout, or in the installed package.

    Raises:
        UsageError: If neither has it.
    """
    package = Path(str(importlib.resources.files("perdure")))
    for folder in (package.parents[1] / "samples" / "email_triage", package / "_samples" / "email_triage"):
        if (folder / loading.FILE_NAME).is_file():
            return folder
    raise errors.UsageError("The sample is not in this installation.", "Run the demo from a checkout: make demo")


async def _show(folder: Path, told: settings.Settings) -> None:
    from perdure.hosts.local import host as local

    logs.pass_through()
    app = loading.load(folder / loading.FILE_NAME)
    click.echo(f"The sample {folder}, hosted with a temporary hub:\n")
    log = logs.RunLog()
    stop = start.Stop()
    async with local.LocalHost(app, hub=told.hub, settings=told, host=told.host, port=0, log=log) as host:
        url = f"{host.url}/{told.route_prefix}".rstrip("/")
        outcomes = [await asyncio.to_thread(send, url, mail) for mail in MAILS.values()]
        click.echo()
        for (what, mail), outcome in zip(MAILS.items(), outcomes, strict=True):
            click.echo(f"{what}: {mail}\n  -> {outcome}\n")
        _where_next(folder, url)
        if sys.stdout.isatty():
            click.echo("\nThe host stays up until Ctrl-C.")
            await stop.asked()
        await host.drain(start.DRAIN_SECONDS)


def send(url: str, mail: str) -> str:
    """Send a mail to the sample as a JSON string and give its outcome.

    Raises:
        PerdureError: If the run did not complete in time.
    """
    headers = {"Content-Type": "application/json", "Prefer": f"wait={WAIT_SECONDS}"}
    answer = remote.Api(url).call("POST", "workflow", "run", body=msgspec.json.encode(mail), headers=headers)
    if answer.get("runtimeStatus") != "Completed":
        told = answer.get("error") or f"it was not done after {WAIT_SECONDS} s"
        raise errors.PerdureError(f"The run {answer['instanceId']} did not complete: {told}")
    return "; ".join(str(output) for output in answer["output"])


def _where_next(folder: Path, url: str) -> None:
    click.echo("Where to look next:")
    if sys.stdout.isatty():
        click.echo(f"  {url}/docs      the API, to try from a browser")
        click.echo(f"  {url}/runs      the two runs")
    click.echo(f"  {folder / 'workflow.py'}      the workflow")
    click.echo(f"  perdure start {folder}      host it yourself")
    click.echo("  perdure new my-app      start an app of your own")
