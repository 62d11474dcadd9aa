"""The ``perdure`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from perdure import errors

FAILURE = 1
USAGE = 2
PARKED = 3


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with its exit code."""
    from perdure.cli import commands
    from perdure.hosts.local import jsonc

    try:
        # Importing the Durable Functions SDK reads the host.json of the current folder, and fails on a broken one.
        jsonc.read_strictly(Path("host.json"))
        commands.cli.main(args=args, prog_name="perdure", standalone_mode=True)
    except errors.PerdureError as error:
        sys.exit(report(error))
    except KeyboardInterrupt:
        sys.exit(FAILURE)


def report(error: errors.PerdureError) -> int:
    """Tell the user of an error and give the exit code."""
    frames = getattr(error, "frames", "")
    if frames:
        click.echo(frames, err=True)
    click.echo(f"{click.style('Error:', fg='red')} {error}", err=True)
    return USAGE if isinstance(error, errors.UsageError) else FAILURE
