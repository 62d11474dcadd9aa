"""Which browser origins may call the local host from other sites (``Host.CORS``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from perdure.routes import messages

MAX_AGE_SECONDS = 600
EXPOSED = "Location, Preference-Applied, x-ms-session-id, x-ms-thread-id"


class Cors(msgspec.Struct, frozen=True):
    """Which origins are let in.

    Attributes:
        origins: Such as ``https://example.com``; ``*`` is any; empty is none.
        credentials: Whether cookies and authorization may be sent along.
    """

    origins: tuple[str, ...] = ()
    credentials: bool = False

    def headers(self, origin: str) -> dict[str, str]:
        """Give the response headers that let a page of this origin read the answer."""
        if not origin or not self.origins:
            return {}
        anyone = "*" in self.origins
        if not anyone and origin.rstrip("/").lower() not in (known.rstrip("/").lower() for known in self.origins):
            return {"vary": "Origin"}
        found = {"access-control-allow-origin": "*" if anyone and not self.credentials else origin}
        found["access-control-expose-headers"] = EXPOSED
        if self.credentials:
            found["access-control-allow-credentials"] = "true"
        if found["access-control-allow-origin"] != "*":
            found["vary"] = "Origin"
        return found

    def admits(self, origin: str, own: Iterable[str]) -> bool:
        """Say whether a page of this origin may change something on a host whose own origins are ``own``.

        A browser sends a plain-text POST to any site without asking first, and no key protects a local host.
        """
        known = {*own, *self.origins}
        return not origin or "*" in known or origin.rstrip("/").lower() in {item.rstrip("/").lower() for item in known}

    def preflight(self, headers: Mapping[str, str], allowed: str) -> messages.Reply:
        """Answer OPTIONS: what is allowed at a path, and to a browser of another site."""
        answer = {"allow": allowed}
        if "access-control-allow-origin" in self.headers(headers.get("origin", "")):
            answer["access-control-allow-methods"] = allowed
            answer["access-control-max-age"] = str(MAX_AGE_SECONDS)
            wanted = headers.get("access-control-request-headers")
            if wanted:
                answer["access-control-allow-headers"] = wanted
        return messages.Reply(204, answer)
