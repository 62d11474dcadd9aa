"""The HTTP API of a running host, as the command line uses it; nothing but the standard library."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from perdure import errors

TIMEOUT_SECONDS = 60.0
"""A live host sends at least a heartbeat in this time."""


class Refused(errors.PerdureError):
    """The host refused a request.

    Args:
        status: The HTTP status code.
        message: What the host said.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """A running host.

    Args:
        url: Where its routes start, prefix included.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._secure = parts.scheme == "https"
        self._authority = parts.netloc
        self._path = parts.path.rstrip("/")
        self.url = url

    def call(
        self,
        method: str,
        *segments: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Any:
        """Send a request and give the JSON it is answered with.

        Raises:
            Refused: If the status is 400 or more.
            PerdureError: If the host does not answer.
        """
        connection, response = self._send(method, segments, body, headers or {}, query)
        try:
            return msgspec.json.decode(response.read())
        finally:
            connection.close()

    def events(self, workflow: str, run_id: str, *, live: bool = False) -> Iterator[Mapping[str, Any]]:
        """Give a run's events until the final one; with ``live`` also what is said and not recorded, without an id.

        Raises:
            Refused: If there is no such run.
            PerdureError: If the host stops answering.
        """
        segments = ("workflow", workflow, "events", run_id)
        connection, response = self._send("GET", segments, None, {"Accept": "text/event-stream"}, "")
        try:
            for line in response:
                if line.startswith(b"data: "):
                    event = msgspec.json.decode(line[6:])
                    if live or "id" in event:
                        yield event
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from error
        finally:
            connection.close()

    def _send(
        self, method: str, segments: tuple[str, ...], body: bytes | None, headers: Mapping[str, str], query: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._authority, timeout=TIMEOUT_SECONDS)
        path = "/".join(urllib.parse.quote(part, safe="") for part in segments)
        try:
            connection.request(method, f"{self._path}/{path}{query and '?'}{query}", body=body, headers=dict(headers))
            response = connection.getresponse()
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise Refused(response.status, _reason(response))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._silent(error) from error
        except Refused:
            connection.close()
            raise
        return connection, response

    def _silent(self, error: Exception) -> errors.PerdureError:
        return errors.PerdureError(
            f"The host at {self.url} does not answer: {error}.", "See its log; a run it accepted goes on."
        )


def _reason(response: http.client.HTTPResponse) -> str:
    try:
        return str(msgspec.json.decode(response.read())["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"The host answered {response.status} {response.reason}."
