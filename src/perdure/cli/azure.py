"""``perdure azure``: an app's way to Azure Functions."""

from __future__ import annotations

from pathlib import Path

import click

from perdure import errors
from perdure.deployment import arm, files


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
    for line in files.write(target, plan, backend, None if wheel is None else Path(wheel).expanduser().absolute()):
        click.echo(line)
    click.echo(f"\nNext: fill in infra/parameters.json, and look it over with `perdure doctor {place}`. Then:\n")
    click.echo("    az group create --name GROUP --location REGION")
    click.echo("    az deployment group create -g GROUP -f infra/main.json -p infra/parameters.json")
    click.echo("    func azure functionapp publish APP_NAME")
