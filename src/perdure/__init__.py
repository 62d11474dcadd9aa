"""Microsoft Agent Framework agents and workflows as durable, stateful HTTP services.

    from perdure import AgentFunctionApp

    app = AgentFunctionApp(workflow=build_workflow())

Importing this package is cheap: what it offers is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure import lazy
from perdure._version import __version__

if TYPE_CHECKING:
    from perdure.agents.callbacks import AgentCallbackContext, AgentResponseCallbackProtocol
    from perdure.agents.durable_agent import AgentSessionId, DurableAgentSession, DurableAIAgent
    from perdure.app import AgentFunctionApp
    from perdure.errors import AgentFailed, CodecError, HubError, PayloadMissing, PerdureError, UsageError
    from perdure.workflow.addresses import WorkflowHitlContext
    from perdure.workflow.policy import Deadline, Expired, Retry

__all__ = [
    "AgentCallbackContext",
    "AgentFailed",
    "AgentFunctionApp",
    "AgentResponseCallbackProtocol",
    "AgentSessionId",
    "CodecError",
    "Deadline",
    "DurableAIAgent",
    "DurableAgentSession",
    "Expired",
    "HubError",
    "PayloadMissing",
    "PerdureError",
    "Retry",
    "UsageError",
    "WorkflowHitlContext",
    "__version__",
]

_LAZY = {
    "AgentCallbackContext": "perdure.agents.callbacks",
    "AgentFailed": "perdure.errors",
    "AgentFunctionApp": "perdure.app",
    "AgentResponseCallbackProtocol": "perdure.agents.callbacks",
    "AgentSessionId": "perdure.agents.durable_agent",
    "CodecError": "perdure.errors",
    "Deadline": "perdure.workflow.policy",
    "DurableAIAgent": "perdure.agents.durable_agent",
    "DurableAgentSession": "perdure.agents.durable_agent",
    "Expired": "perdure.workflow.policy",
    "HubError": "perdure.errors",
    "PayloadMissing": "perdure.errors",
    "PerdureError": "perdure.errors",
    "Retry": "perdure.workflow.policy",
    "UsageError": "perdure.errors",
    "WorkflowHitlContext": "perdure.workflow.addresses",
}


__getattr__, __dir__ = lazy.attributes(__name__, _LAZY)
