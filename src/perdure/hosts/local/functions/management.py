"""The Durable Functions HTTP management API over instances: what the official client and the status links talk to."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from perdure import errors
from perdure.hosts.local.functions import entities, instances, orchestration, status
from perdure.routes import messages

ROOT = "/runtime/webhooks/durabletask"
ID_PLACEHOLDER = "INSTANCEID"
CONNECTION = "Storage"
STATUS_RETRY_SECONDS = 5
START_RETRY_SECONDS = 10
PAGE = 100
ENTITY_PARTS = 2
EMPTY_KEY = "$"

Reply = messages.Reply
Handler = Callable[[messages.Request], Awaitable[Reply]]


class Management:
    """Answers the management API; on the engine's loop.

    Args:
        held: The instances.
        living: The entities.
        hub: The task hub's name.
    """

    def __init__(self, held: instances.Instances, living: entities.Entities, hub: str) -> None:
        self._instances = held
        self._entities = living
        self._hub = hub

    def find(self, method: str, segments: list[str]) -> Handler | None:
        """Give what answers a request, by the decoded segments of its path below the root; None if nothing does."""
        match method, [segments[0].casefold(), *segments[1:]] if segments else []:
            case "POST", ["orchestrators", name]:
                return lambda request: self._start(request, name, "")
            case "POST", ["orchestrators", name, instance_id]:
                return lambda request: self._start(request, name, instance_id)
            case "GET", ["instances"]:
                return self._list
            case "DELETE", ["instances"]:
                return self._purge_some
            case "GET", ["instances", instance_id]:
                return lambda request: self._status(request, instance_id)
            case "DELETE", ["instances", instance_id]:
                return lambda request: self._purge(instance_id)
            case "POST", ["instances", instance_id, operation, *rest]:
                return self._operation(instance_id, operation.casefold(), rest)
            case "GET", ["entities", *rest] if len(rest) < ENTITY_PARTS:
                return lambda request: self._list_entities(request, rest[0] if rest else "")
            case "GET", ["entities", name, key]:
                return lambda request: self._entity(name, key)
            case (("POST" | "DELETE"), ["entities", name, *rest]) if len(rest) < ENTITY_PARTS:
                return lambda request: self._signal(request, name, rest[0] if rest else "", method)
        return None

    def links(self, origin: str, instance_id: str) -> dict[str, str]:
        """Give the addresses of an instance."""
        base = f"{origin}{ROOT}/instances/{quote(instance_id, safe='')}"
        query = urlencode({"taskHub": self._hub, "connection": CONNECTION})
        return {
            "id": instance_id,
            "statusQueryGetUri": f"{base}?{query}",
            "sendEventPostUri": f"{base}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{base}/terminate?reason={{text}}&{query}",
            "rewindPostUri": f"{base}/rewind?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": f"{base}?{query}",
            "restartPostUri": f"{base}/restart?{query}",
            "suspendPostUri": f"{base}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{base}/resume?reason={{text}}&{query}",
        }

    def client(self, here: str, public: str) -> str:
        """Give what a durable client is made from.

        Args:
            here: Where this host answers, such as ``http://127.0.0.1:7071``.
            public: What links for others start with.
        """
        create = f"{public}{ROOT}/orchestrators/{{functionName}}[/{{instanceId}}]"
        wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"
        return json.dumps(
            {
                "taskHubName": self._hub,
                "creationUrls": {
                    "createNewInstancePostUri": f"{create}?",
                    "createAndWaitOnNewInstancePostUri": f"{create}?{wait}",
                },
                "managementUrls": self.links(public, ID_PLACEHOLDER),
                "baseUrl": f"{public}{ROOT}",
                "requiredQueryStringParameters": "",
                "rpcBaseUrl": f"{here}{ROOT}/",
                "httpBaseUrl": f"{public}{ROOT}",
            }
        )

    def _operation(self, instance_id: str, operation: str, rest: list[str]) -> Handler | None:
        match operation, rest:
            case "raiseevent", [name]:
                return lambda request: self._raise(request, instance_id, name)
            case "terminate", []:
                return lambda request: self._terminate(request, instance_id)
            case (("suspend" | "resume"), []):
                return lambda request: self._switch(request, instance_id, suspend=operation == "suspend")
            case "rewind", []:
                return lambda request: self._rewind(instance_id)
            case "restart", []:
                return lambda request: self._restart(request, instance_id)
        return None

    # Starting.

    async def _start(self, request: messages.Request, name: str, instance_id: str) -> Reply:
        value: Any = None
        if request.body:
            try:
                value = messages.decode(request.body)
            except msgspec.DecodeError as error:
                return _error(400, "Invalid JSON content", error)
        return await self._started(request, name, instance_id, value)

    async def _started(self, request: messages.Request, name: str, instance_id: str, value: Any) -> Reply:
        try:
            instance_id = await self._instances.start(name, instance_id, value)
        except (LookupError, ValueError, errors.EmptyInput, errors.InvalidInput) as error:
            return _error(400, "One or more of the arguments submitted is incorrect", error)
        except instances.Exists as error:
            return _error(409, str(error), error)
        timeout, interval = _number(request, "timeout"), _number(request, "pollingInterval")
        if timeout is not None and interval is not None:
            state = await self._instances.ended(instance_id, timeout)
            if state is not None and state.view.status == "Completed":
                return messages.json(state.output)
            if state is not None and state.view.ended:
                return await self._status(request, instance_id)
        links = self.links(request.origin, instance_id)
        del links["rewindPostUri"]
        headers = {"location": links["statusQueryGetUri"], "retry-after": str(START_RETRY_SECONDS)}
        return messages.json(links, 202, headers)

    async def _restart(self, request: messages.Request, instance_id: str) -> Reply:
        state = self._instances.get(instance_id)
        if state is None:
            error = ValueError(f"An orchestration with the instanceId {instance_id} was not found.")
            return _error(400, "InstanceId does not match a valid orchestration instance.", error)
        if self._instances.is_workflow(state):
            return _error(400, "A workflow's run is not restarted; start another one, or rewind it if it has failed.")
        fresh = _boolean(request, "restartWithNewInstanceId", True)
        value = self._instances.input(state)
        return await self._started(request, state.view.name, "" if fresh else instance_id, value)

    # Looking.

    async def _status(self, request: messages.Request, instance_id: str) -> Reply:
        state = self._instances.get(instance_id)
        if state is None:
            return Reply(404, {})
        shown = status.of(self._instances, state, with_input=_boolean(request, "showInput", True))
        if _boolean(request, "showHistory", False):
            shown["historyEvents"] = status.history_of(
                self._instances.history(state),
                with_input=_boolean(request, "showInput", True),
                with_output=_boolean(request, "showHistoryOutput", False),
            )
        if state.view.ended:
            failed = state.view.status == "Failed" and _boolean(request, "returnInternalServerErrorOnFailure", False)
            return messages.json(shown, 500 if failed else 200)
        location = f"{request.origin}{request.path}"
        if request.query:
            location += f"?{urlencode(request.query)}"
        return messages.json(shown, 202, {"location": location, "retry-after": str(STATUS_RETRY_SECONDS)})

    async def _list(self, request: messages.Request) -> Reply:
        limit = _number(request, "top")
        try:
            states, cursor = self._instances.query(
                _statuses(request),
                _time(request, "createdTimeFrom"),
                _time(request, "createdTimeTo"),
                request.query.get("instanceIdPrefix", ""),
                request.headers.get("x-ms-continuation-token") or None,
                int(limit) if limit is not None and 1 <= limit <= instances.PAGE else PAGE,
            )
        except errors.UsageError as error:
            return _error(400, "The value of x-ms-continuation-token is none that a list gave", error)
        # All of them in one answer unless a size is asked for: the official client reads one page.
        while cursor is not None and limit is None:
            more, cursor = self._instances.query(
                _statuses(request),
                _time(request, "createdTimeFrom"),
                _time(request, "createdTimeTo"),
                request.query.get("instanceIdPrefix", ""),
                cursor,
                PAGE,
            )
            states += more
            await asyncio.sleep(0)
        with_input = _boolean(request, "showInput", False)
        shown = [status.of(self._instances, state, with_input=with_input) for state in states]
        return messages.json(shown, 200, {"x-ms-continuation-token": cursor or ""})

    # Changing.

    async def _raise(self, request: messages.Request, instance_id: str, name: str) -> Reply:
        gone = self._gone(instance_id)
        if gone is not None:
            return gone
        if messages.media_type(request.headers.get("content-type", "")) != messages.JSON:
            return _error(400, "Only application/json request content is supported")
        if name.startswith(orchestration.RESERVED_PREFIX):
            return _error(400, f"Names of events that start with {orchestration.RESERVED_PREFIX} are the host's own.")
        try:
            value: Any = messages.decode(request.body)
        except msgspec.DecodeError as error:
            return _error(400, "Invalid JSON content", error)
        try:
            return _accepted(await self._instances.raise_event(instance_id, name, value))
        except (LookupError, errors.EmptyInput, errors.InvalidInput) as error:
            return _error(400, "The event is no answer that the workflow takes", error)

    async def _terminate(self, request: messages.Request, instance_id: str) -> Reply:
        gone = self._gone(instance_id)
        if gone is not None:
            return gone
        return _accepted(await self._instances.terminate(instance_id, request.query.get("reason", "")))

    async def _switch(self, request: messages.Request, instance_id: str, *, suspend: bool) -> Reply:
        gone = self._gone(instance_id)
        if gone is not None:
            return gone
        state = self._instances.get(instance_id)
        if state is not None and self._instances.is_workflow(state):
            return _error(400, "A workflow's run cannot be suspended or resumed on this host yet.")
        reason = request.query.get("reason", "")
        return _accepted(await self._instances.switch(instance_id, reason, suspend=suspend))

    async def _rewind(self, instance_id: str) -> Reply:
        state = self._instances.get(instance_id)
        if state is None:
            return Reply(404, {})
        if state.view.status in ("Completed", "Terminated"):
            return Reply(410, {})
        if await self._instances.rewind(instance_id):
            return Reply(202, {})
        error = ValueError("The rewind operation is only supported on failed orchestration instances.")
        return _error(400, "One or more of the arguments submitted is incorrect", error)

    async def _purge(self, instance_id: str) -> Reply:
        if self._instances.get(instance_id) is None:
            return Reply(404, {})
        return messages.json({"instancesDeleted": int(await self._instances.purge(instance_id))})

    async def _purge_some(self, request: messages.Request) -> Reply:
        since = _time(request, "createdTimeFrom")
        if since is None:
            return messages.json("Please provide value for 'createdTimeFrom' parameter.", 400)
        until = _time(request, "createdTimeTo") or time.time()
        count, cursor, more = 0, None, True
        while more:
            states, cursor = self._instances.query(_statuses(request), since, until, "", cursor, PAGE)
            for state in states:
                count += await self._instances.purge(state.view.id)
            more = cursor is not None
        return messages.json({"instancesDeleted": count}) if count else Reply(404, {})

    # Entities.

    async def _entity(self, name: str, key: str) -> Reply:
        found = self._entities.get(name, "" if key == EMPTY_KEY else key)
        if found is None:
            return Reply(404, {})
        return Reply(200, {"content-type": messages.JSON}, (found.state or "null").encode())

    async def _list_entities(self, request: messages.Request, name: str) -> Reply:
        with_state = _boolean(request, "fetchState", False)
        since, until = _time(request, "lastOperationTimeFrom"), _time(request, "lastOperationTimeTo")
        shown = [
            {
                "entityId": {"name": each.name, "key": each.key},
                "lastOperationTime": status.second(each.updated),
                "state": json.loads(each.entity.state or "null") if with_state else None,
            }
            for each in self._entities.list(name)
            if (since is None or each.updated >= since) and (until is None or each.updated <= until)
        ]
        return messages.json(shown, 200, {"x-ms-continuation-token": ""})

    async def _signal(self, request: messages.Request, name: str, key: str, method: str) -> Reply:
        operation = "delete" if method == "DELETE" else _given(request.query, "op")
        value: Any = None
        if request.body and messages.media_type(request.headers.get("content-type", "")) == messages.JSON:
            try:
                value = messages.decode(request.body)
            except msgspec.DecodeError as error:
                return _error(400, f"Could not parse JSON content: {error}")
        elif request.body:
            value = request.body.decode(errors="replace")
        try:
            await self._entities.signal(name, key, operation, value, given=bool(request.body))
        except LookupError as error:
            return _error(400, str(error.args[0]))
        return Reply(202, {})

    def _gone(self, instance_id: str) -> Reply | None:
        state = self._instances.get(instance_id)
        if state is None:
            return Reply(404, {})
        return Reply(410, {}) if state.view.ended else None


def _accepted(done: bool) -> Reply:
    # What was running a moment ago and is not any more has ended meanwhile.
    return Reply(202 if done else 410, {})


def _error(code: int, message: str, error: Exception | None = None) -> Reply:
    said: dict[str, Any] = {"Message": message}
    if error is not None:
        text = str(error.args[0]) if error.args else str(error)
        said |= {"ExceptionMessage": text, "ExceptionType": type(error).__name__}
    return messages.json(said, code)


def _boolean(request: messages.Request, name: str, default: bool) -> bool:
    return {"true": True, "false": False}.get(_given(request.query, name).casefold(), default)


def _number(request: messages.Request, name: str) -> float | None:
    try:
        return float(_given(request.query, name))
    except ValueError:
        return None


def _time(request: messages.Request, name: str) -> float | None:
    try:
        found = datetime.datetime.fromisoformat(_given(request.query, name))
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)).timestamp()


def _statuses(request: messages.Request) -> list[str]:
    asked = [part.strip().capitalize() for part in _given(request.query, "runtimeStatus").split(",")]
    return [name for name in asked if name]


def _given(query: Mapping[str, str], name: str) -> str:
    folded = name.casefold()
    return next((value for key, value in query.items() if key.casefold() == folded), "")
