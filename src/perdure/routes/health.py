"""Whether the host can take work."""

from __future__ import annotations

import logging
from typing import Any

from perdure.routes import messages
from perdure.routes import site as sites

logger = logging.getLogger("perdure")


async def health(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET health``: 200, or 503 when the host cannot take work; without a key only the status is shown."""
    trouble = await site.runs.trouble()
    healthy = trouble is None
    shown: dict[str, Any] = {"status": "healthy" if healthy else "unhealthy"}
    if not healthy and not request.authorised:
        # Nobody else is told why.
        logger.warning("GET health: %s", trouble)
    if request.authorised:
        shown |= {} if healthy else {"reason": trouble}
        shown |= {"agents": list(site.agents), "agent_count": len(site.agents)}
    return messages.json(shown, 200 if healthy else 503, {"cache-control": "no-store"})
