"""Where a run can be reached: what an executor needs to mail somebody a link."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote

from perdure import errors
from perdure.workflow import graph

BASE_URL_VARIABLE: Final = "PERDURE_BASE_URL"
HOSTNAME_VARIABLE: Final = "WEBSITE_HOSTNAME"
DEFAULT_ROUTE_PREFIX: Final = "api"

INSTANCE_ID: Final = "instance_id"
WORKFLOW_NAME: Final = "workflow_name"
REQUEST_PATH_PREFIX: Final = "request_path_prefix"
HOST_URL: Final = "host_url"
ROUTE_PREFIX: Final = "route_prefix"

_SAFE: Final = "~{}"  # "{requestId}" stays a template
_LOOPBACK: Final = frozenset({"localhost", "0.0.0.0", "::1", "::"})


@dataclass(frozen=True)
class WorkflowHitlContext:
    """A run as somebody outside reaches it: its id, and the addresses to ask after it and to answer it.

    Attributes:
        instance_id: The run's id; inside a sub-workflow that of the run on top.
        workflow_name: The name that the run's workflow is hosted under.
        base_url_override: What addresses start with, if it was given.
        request_path_prefix: What comes before a request's id on the run on top; empty outside sub-workflows.
        host_url: What addresses start with where neither an argument nor the environment says so.
        route_prefix: The host's route prefix.
    """

    instance_id: str
    workflow_name: str
    base_url_override: str | None = None
    request_path_prefix: str = ""
    host_url: str | None = None
    route_prefix: str = DEFAULT_ROUTE_PREFIX

    @classmethod
    def from_context(cls, ctx: Any, *, base_url: str | None = None) -> Self | None:
        """Read it off the context that an executor's handler is given; None where the workflow runs in process.

        Args:
            ctx: The handler's ``WorkflowContext``.
            base_url: Scheme and host of the addresses, such as ``https://flows.example.com``; for a public name
                that the host does not know of.
        """
        told = getattr(ctx, "host_metadata", None)
        if not isinstance(told, Mapping):
            return None
        instance_id, workflow = told.get(INSTANCE_ID), told.get(WORKFLOW_NAME)
        if not isinstance(instance_id, str) or not isinstance(workflow, str):
            return None
        return cls(
            instance_id=instance_id,
            workflow_name=workflow,
            base_url_override=base_url,
            request_path_prefix=told.get(REQUEST_PATH_PREFIX) or "",
            host_url=told.get(HOST_URL),
            route_prefix=told.get(ROUTE_PREFIX, DEFAULT_ROUTE_PREFIX),
        )

    @staticmethod
    async def pending_request_id(ctx: Any) -> str | None:
        """Give the id of the request that the handler made last; None if it made none.

        Call it right after each ``await ctx.request_info(...)``, or give that a ``request_id`` of your own.
        """
        asked = getattr(graph.runner_context(ctx), "get_pending_request_info_events", None)
        found = None if asked is None else await asked()
        return next(reversed(found)) if found else None

    @property
    def base_url(self) -> str:
        """What addresses start with, without a slash at the end.

        The first that is there of: the argument of :meth:`from_context`, ``PERDURE_BASE_URL``, ``WEBSITE_HOSTNAME``
        (``http`` for this machine's own names, else ``https``), the address that the local host listens on.

        Raises:
            RuntimeError: If there is none.
        """
        given = self.base_url_override or os.environ.get(BASE_URL_VARIABLE)
        if given:
            return given.rstrip("/")
        if name := os.environ.get(HOSTNAME_VARIABLE, "").rstrip("/"):
            return name if name.startswith(("http://", "https://")) else f"{_scheme(name)}://{name}"
        if self.host_url:
            return self.host_url.rstrip("/")
        raise NoAddress(
            "The address of this host is not known.",
            f"Set {BASE_URL_VARIABLE} (such as https://flows.example.com), "
            "or pass base_url=... to WorkflowHitlContext.from_context().",
        )

    def build_respond_url(self, request_id: str) -> str:
        """Give the address that takes the answer to a request.

        Args:
            request_id: The id that ``request_info`` was given or made; inside a sub-workflow the bare one.

        Raises:
            RuntimeError: If the host's address is not known.
        """
        return self._url("respond", self.instance_id, f"{self.request_path_prefix}{request_id}")

    def build_status_url(self) -> str:
        """Give the address that shows the run.

        Raises:
            RuntimeError: If the host's address is not known.
        """
        return self._url("status", self.instance_id)

    def _url(self, *segments: str) -> str:
        path = [quote(part, safe=_SAFE) for part in ("workflow", self.workflow_name, *segments)]
        return "/".join([self.base_url, *filter(None, [self.route_prefix.strip("/")]), *path])


class NoAddress(errors.PerdureError, RuntimeError):
    """An address was asked for on a host that does not know its own."""


def _scheme(name: str) -> str:
    host = name.lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return "http" if host in _LOOPBACK or host.startswith("127.") else "https"
