"""The Durable Functions HTTP management API: what the official client and the status links talk to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from perdure import errors
from perdure.hosts.local.functions import entities, entity_management, instances, orchestration, requests, status
from perdure.routes import messages

ROOT = "/runtime/webhooks/durabletask"
ID_PLACEHOLDER = "INSTANCEID"
CONNECTION = "Storage"
STATUS_RETRY_SECONDS = 5
START_RETRY_SECONDS = 10
PAGE = 100

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
        self._entities = entity_management.EntityManagement(living)
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
            case _, ["entities", *rest]:
                return self._entities.find(method, rest)
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
                return requests.refusal(400, "Invalid JSON content", error)
        return await self._started(request, name, instance_id, value)

    async def _started(self, request: messages.Request, name: str, instance_id: str, value: Any) -> Reply:
        try:
            instance_id = await self._instances.start(name, instance_id, value)
        except (LookupError, ValueError, errors.EmptyInput, errors.InvalidInput) as error:
            return requests.refusal(400, "One or more of the arguments submitted is incorrect", error)
        except instances.Exists as error:
            return requests.refusal(409, str(error), error)
        timeout, interval = requests.number(request, "timeout"), requests.number(request, "pollingInterval")
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
            return requests.refusal(400, "InstanceId does not match a valid orchestration instance.", error)
        if self._instances.is_workflow(state):
            return requests.refusal(
                400, "A workflow's run is not restarted; start another one, or rewind it if it has failed."
            )
        fresh = requests.boolean(request, "restartWithNewInstanceId", default=True)
        value = self._instances.input(state)
        return await self._started(request, state.view.name, "" if fresh else instance_id, value)

    # Looking.

    async def _status(self, request: messages.Request, instance_id: str) -> Reply:
        state = self._instances.get(instance_id)
        if state is None:
            return Reply(404, {})
        shown = status.of(self._instances, state, with_input=requests.boolean(request, "showInput", default=True))
        if requests.boolean(request, "showHistory", default=False):
            shown["historyEvents"] = status.history_of(
                self._instances.history(state),
                with_input=requests.boolean(request, "showInput", default=True),
                with_output=requests.boolean(request, "showHistoryOutput", default=False),
            )
        if state.view.ended:
            failed = state.view.status == "Failed" and requests.boolean(
                request, "returnInternalServerErrorOnFailure", default=False
            )
            return messages.json(shown, 500 if failed else 200)
        location = f"{request.origin}{request.path}"
        if request.query:
            location += f"?{urlencode(request.query)}"
        return messages.json(shown, 202, {"location": location, "retry-after": str(STATUS_RETRY_SECONDS)})

    async def _list(self, request: messages.Request) -> Reply:
        limit = requests.number(request, "top")
        size = int(limit) if limit is not None and 1 <= limit <= instances.PAGE else PAGE
        asked = (
            requests.statuses(request),
            requests.moment(request, "createdTimeFrom"),
            requests.moment(request, "createdTimeTo"),
            request.query.get("instanceIdPrefix", ""),
        )
        try:
            states, cursor = self._instances.query(*asked, request.headers.get("x-ms-continuation-token") or None, size)
        except errors.UsageError as error:
            return requests.refusal(400, "The value of x-ms-continuation-token is none that a list gave", error)
        # All of them in one answer unless a size is asked for: the official client reads one page.
        while cursor is not None and limit is None:
            more, cursor = self._instances.query(*asked, cursor, PAGE)
            states += more
            await asyncio.sleep(0)
        with_input = requests.boolean(request, "showInput", default=False)
        shown = [status.of(self._instances, state, with_input=with_input) for state in states]
        return messages.json(shown, 200, {"x-ms-continuation-token": cursor or ""})

    # Changing.

    async def _raise(self, request: messages.Request, instance_id: str, name: str) -> Reply:
        gone = self._gone(instance_id)
        if gone is not None:
            return gone
        if messages.media_type(request.headers.get("content-type", "")) != messages.JSON:
            return requests.refusal(400, "Only application/json request content is supported")
        if name.startswith(orchestration.RESERVED_PREFIX):
            return requests.refusal(
                400, f"Names of events that start with {orchestration.RESERVED_PREFIX} are the host's own."
            )
        try:
            value: Any = messages.decode(request.body)
        except msgspec.DecodeError as error:
            return requests.refusal(400, "Invalid JSON content", error)
        try:
            return _accepted(await self._instances.raise_event(instance_id, name, value))
        except (LookupError, errors.EmptyInput, errors.InvalidInput) as error:
            return requests.refusal(400, "The event is no answer that the workflow takes", error)

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
            return requests.refusal(400, "A workflow's run cannot be suspended or resumed on this host yet.")
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
        return requests.refusal(400, "One or more of the arguments submitted is incorrect", error)

    async def _purge(self, instance_id: str) -> Reply:
        if self._instances.get(instance_id) is None:
            return Reply(404, {})
        return messages.json({"instancesDeleted": int(await self._instances.purge(instance_id))})

    async def _purge_some(self, request: messages.Request) -> Reply:
        since = requests.moment(request, "createdTimeFrom")
        if since is None:
            return messages.json("Please provide value for 'createdTimeFrom' parameter.", 400)
        until = requests.moment(request, "createdTimeTo") or time.time()
        count, cursor, more = 0, None, True
        while more:
            states, cursor = self._instances.query(requests.statuses(request), since, until, "", cursor, PAGE)
            for state in states:
                count += await self._instances.purge(state.view.id)
            more = cursor is not None
        return messages.json({"instancesDeleted": count}) if count else Reply(404, {})

    def _gone(self, instance_id: str) -> Reply | None:
        state = self._instances.get(instance_id)
        if state is None:
            return Reply(404, {})
        return Reply(410, {}) if state.view.ended else None


def _accepted(done: bool) -> Reply:
    # What was running a moment ago and is not any more has ended meanwhile.
    return Reply(202 if done else 410, {})
