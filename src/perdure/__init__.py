"""Microsoft Agent Framework workflows as durable, stateful HTTP services.

    from perdure import AgentFunctionApp

    app = AgentFunctionApp(workflow=build_workflow())

Importing this package is cheap: what it offers is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from perdure._version import __version__

if TYPE_CHECKING:
    from perdure.app import AgentFunctionApp
    from perdure.errors import CodecError, HubError, PayloadMissing, PerdureError, UsageError
    from perdure.workflow.addresses import WorkflowHitlContext

__all__ = [
    "AgentFunctionApp",
    "CodecError",
    "HubError",
    "PayloadMissing",
    "PerdureError",
    "UsageError",
    "WorkflowHitlContext",
    "__version__",
]

_LAZY = {
    "AgentFunctionApp": "perdure.app",
    "CodecError": "perdure.errors",
    "HubError": "perdure.errors",
    "PayloadMissing": "perdure.errors",
    "PerdureError": "perdure.errors",
    "UsageError": "perdure.errors",
    "WorkflowHitlContext": "perdure.workflow.addresses",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
