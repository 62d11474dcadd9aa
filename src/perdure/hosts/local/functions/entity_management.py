"""The part of the management API that is about entities."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from perdure.hosts.local.functions import entities, requests, status
from perdure.routes import messages

EMPTY_KEY = "$"


class EntityManagement:
    """Answers what is asked of entities; on the engine's loop.

    Args:
        held: The entities.
    """

    def __init__(self, held: entities.Entities) -> None:
        self._held = held

    def find(self, method: str, segments: list[str]) -> Callable[[messages.Request], Awaitable[messages.Reply]] | None:
        """Give what answers a request, by the decoded segments of its path below ``entities``; None if nothing does."""
        match method, segments:
            case "GET", []:
                return lambda request: self._list(request, "")
            case "GET", [name]:
                return lambda request: self._list(request, name)
            case "GET", [name, key]:
                return lambda request: self._get(name, key)
            case (("POST" | "DELETE"), [name]):
                return lambda request: self._signal(request, name, "", method)
            case (("POST" | "DELETE"), [name, key]):
                return lambda request: self._signal(request, name, key, method)
        return None

    async def _get(self, name: str, key: str) -> messages.Reply:
        found = self._held.get(name, "" if key == EMPTY_KEY else key)
        if found is None:
            return messages.Reply(404, {})
        return messages.Reply(200, {"content-type": messages.JSON}, (found.state or "null").encode())

    async def _list(self, request: messages.Request, name: str) -> messages.Reply:
        with_state = requests.boolean(request, "fetchState", default=False)
        since = requests.moment(request, "lastOperationTimeFrom")
        until = requests.moment(request, "lastOperationTimeTo")
        shown = [
            {
                "entityId": {"name": each.name, "key": each.key},
                "lastOperationTime": status.second(each.updated),
                "state": json.loads(each.entity.state or "null") if with_state else None,
            }
            for each in self._held.list(name)
            if (since is None or each.updated >= since) and (until is None or each.updated <= until)
        ]
        return messages.json(shown, 200, {"x-ms-continuation-token": ""})

    async def _signal(self, request: messages.Request, name: str, key: str, method: str) -> messages.Reply:
        operation = "delete" if method == "DELETE" else requests.text(request, "op")
        value: Any = None
        if request.body and messages.media_type(request.headers.get("content-type", "")) == messages.JSON:
            try:
                value = messages.decode(request.body)
            except msgspec.DecodeError as error:
                return requests.refusal(400, f"Could not parse JSON content: {error}")
        elif request.body:
            value = request.body.decode(errors="replace")
        try:
            await self._held.signal(name, key, operation, value, given=bool(request.body))
        except LookupError as error:
            return requests.refusal(400, str(error.args[0]))
        return messages.Reply(202, {})
