from __future__ import annotations

import pathlib

import pytest
from tests.agents import world

from perdure.testing import LocalHost, ScriptedChatClient


def written(host: LocalHost) -> dict[str, int]:
    """Bytes that the session's rows hold: payloads, and what went through the engine."""
    import apsw

    found = {}
    connection = apsw.Connection(str(pathlib.Path(host.hub) / "hub.db"), flags=apsw.SQLITE_OPEN_READONLY)
    for name, query in {
        "payloads": "SELECT sum(length(body)) FROM payloads",
        "engine": "SELECT sum(length(record)) FROM history",
        "kept": "SELECT max(length(state)) FROM kept",
    }.items():
        ((size,),) = list(connection.execute(query))
        found[name] = int(size)
    connection.close()
    return found


@pytest.mark.embedded
async def test_a_late_turn_writes_what_an_early_one_did() -> None:
    client = ScriptedChatClient(lambda messages, options: "Your order is on its way." * 10)
    marks = []
    async with world.serve(world.app_of(client)) as served:
        for number in range(1, 121):
            asked = {"session_id": "s1", "correlation_id": f"turn-{number:06}"}
            assert (await served.say(f"Where is order {number:06}?", **asked)).status_code == 200
            if number in (20, 40, 100, 120):
                marks.append(written(served.host))

    for name in ("payloads", "engine"):
        early, late = marks[1][name] - marks[0][name], marks[3][name] - marks[2][name]
        assert late <= early * 1.1 + 100, name
    # What the session knows by heart is 64 correlation ids at most.
    assert marks[3]["kept"] <= 64 * 16 + 512
