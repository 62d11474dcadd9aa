"""``perdure azure``: an app's way to Azure Functions."""

from __future__ import annotations

from pathlib import Path

import click

from perdure import errors
from perdure.deployment import arm, files, provenance


def init(place: str, *, plan: arm.Plan, backend: arm.Backend, wheel: str | None) -> None:
    """Put the files into an app's folder that it needs on Azure.

    Raises:
        UsageError: If there is no such folder, or a file in it cannot be read or written.
    """
    target = Path(place).expanduser().absolute()
    if not target.is_dir():
        raise errors.UsageError(
            f"There is no folder {target}.", "Name an app's folder; `perdure new FOLDER` makes one."
        )
    origin = provenance.here()
    given = None if wheel is None else Path(wheel).expanduser().absolute()
    for line in files.write(target, plan, backend, given, origin):
        click.echo(line)
    command = origin.command(target)
    if given is None and command and not (target / provenance.WHEELS / origin.wheel_name).is_file():
        click.echo(
            f"\nThe perdure here is no release of a package index; it was installed from {origin.shown}. "
            f"It goes with the app as a wheel, which you make so:\n\n    {command}"
        )
    click.echo(f"\nNext: fill in infra/parameters.json, and look it over with `perdure doctor {place}`. Then:\n")
    click.echo("    az group create --name GROUP --location REGION")
    click.echo("    az deployment group create -g GROUP -f infra/main.json -p infra/parameters.json")
    click.echo("    func azure functionapp publish APP_NAME")
