"""For tests of your workflows: a host in the test's own process, a scripted chat client, a scripted model server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure import lazy

if TYPE_CHECKING:
    from perdure.hosts.local.host import LocalHost
    from perdure.testing.chat import Request, ScriptedChatClient, tool_call
    from perdure.testing.model_server import ModelServer
    from perdure.testing.script import ScriptExhausted

__all__ = ["LocalHost", "ModelServer", "Request", "ScriptExhausted", "ScriptedChatClient", "tool_call"]

_LAZY = {
    "LocalHost": "perdure.hosts.local.host",
    "ModelServer": "perdure.testing.model_server",
    "Request": "perdure.testing.chat",
    "ScriptExhausted": "perdure.testing.script",
    "ScriptedChatClient": "perdure.testing.chat",
    "tool_call": "perdure.testing.chat",
}


__getattr__, __dir__ = lazy.attributes(__name__, _LAZY)
