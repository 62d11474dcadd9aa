"""An app as workers on Durable Task Scheduler, and its HTTP API in front of it."""

from __future__ import annotations

from importlib import util

from perdure import errors


def _has(name: str) -> bool:
    try:
        return util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


if not (_has("durabletask") and _has("durabletask.azuremanaged")):
    raise errors.UsageError(
        "A worker on Durable Task Scheduler needs the packages durabletask and durabletask-azuremanaged.",
        "Install them: pip install 'perdure[durabletask]'",
    )
