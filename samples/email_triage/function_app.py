"""The app: one hosted workflow. ``perdure start`` serves it here; the same file is made for Azure Functions."""

from __future__ import annotations

from perdure import AgentFunctionApp
from workflow import build_workflow

app = AgentFunctionApp(workflow=build_workflow())
