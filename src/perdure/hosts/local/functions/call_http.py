"""``context.call_http``: a request made by the host for an orchestration."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from perdure.hosts.local.functions import steps
from perdure.workflow import protocol

TIMEOUT_SECONDS = 100.0


class NotServed(Exception):
    """The request asks for something that this host does not do."""


async def request(instance_id: str, key: str, call: Any) -> protocol.Outcome:
    """Make a request and give its response; every status is a response.

    Raises:
        NotServed: If it needs a token of a managed identity, or is multipart.
        ClientError: If there is no response.
    """
    step: steps.Step = call
    asked = json.loads(step.input or "{}")
    if asked.get("tokenSource"):
        raise NotServed("call_http with a token_source needs a managed identity, which there is only on Azure.")
    headers = {name: value for name, value in (asked.get("headers") or {}).items() if value is not None}
    kind = next((value for name, value in headers.items() if name.casefold() == "content-type"), "")
    if "multipart" in kind:
        raise NotServed("Multipart content is not supported with call_http.")
    content = asked.get("content")
    if content is not None and not kind:
        headers["Content-Type"] = "text/plain"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(asked["method"], asked["uri"], headers=headers, data=content) as response,
    ):
        answer = {
            "statusCode": response.status,
            "headers": dict(response.headers),
            "content": await response.text(errors="replace"),
        }
    text = json.dumps(answer)
    return protocol.Outcome(text, text.encode())
