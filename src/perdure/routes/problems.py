"""Refusals as RFC 9457 problem details, with the ``error`` member that older clients read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from perdure.routes import messages

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that cannot be met, as the client is told it.

    Args:
        status: The HTTP status code.
        detail: What was wrong and what would be right.
        kind: A stable word for programs, such as ``invalid-input``; empty for none beyond the status.
        pointers: JSON pointers into the body, each with what is wrong there.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        pointers: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.pointers = tuple(pointers)
        self.headers = dict(headers or {})


def shown(problem: Problem) -> dict[str, Any]:
    """Show a problem as JSON."""
    body: dict[str, Any] = {
        "type": f"urn:perdure:problem:{problem.kind}" if problem.kind else "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "error": problem.detail,
    }
    if problem.pointers:
        body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in problem.pointers]
    return body


def reply(problem: Problem) -> messages.Reply:
    """Answer with a problem."""
    headers = {"content-type": MEDIA_TYPE, **problem.headers}
    return messages.Reply(problem.status, headers, msgspec.json.encode(shown(problem)))


def bad_value(name: str, value: str, allowed: str) -> Problem:
    """Refuse a query or header value, saying what is allowed."""
    return Problem(400, f"{name} is {clipped(value)}; allowed: {allowed}.", kind="invalid-parameter")


def unknown_run(run_id: str) -> Problem:
    """Refuse a run id that no run has (or one of another workflow)."""
    return Problem(404, f"There is no run {clipped(run_id)} here.", kind="unknown-run")


def unknown_workflow(name: str, hosted: Iterable[str]) -> Problem:
    """Refuse a workflow name, naming those that are hosted."""
    known = ", ".join(sorted(hosted)) or "none"
    return Problem(404, f"No workflow {clipped(name)} is hosted here; hosted: {known}.", kind="unknown-workflow")


def foreign_origin(origin: str) -> Problem:
    """Refuse a browser page of another site."""
    return Problem(
        403,
        f"A page of {clipped(origin)} may not change anything here. Add it to Host.CORS in local.settings.json.",
        kind="foreign-origin",
    )


def unknown_host(host: str) -> Problem:
    """Refuse who asks by a name that is none of this host's."""
    return Problem(
        421,
        f"This host does not go by the name {clipped(host)}. If it shall, add the name to PERDURE_ALLOWED_HOSTS.",
        kind="unknown-host",
    )


def too_large(limit: int) -> Problem:
    """Refuse a body over the limit in bytes."""
    return Problem(
        413,
        f"The body is over {limit} bytes; FUNCTIONS_REQUEST_BODY_SIZE_LIMIT sets the limit.",
        kind="body-too-large",
        headers={"connection": "close"},
    )


def clipped(value: str, limit: int = 120) -> str:
    """Quote a client's value, cut to a length that is safe to repeat."""
    return repr(value if len(value) <= limit else value[:limit] + "...")
