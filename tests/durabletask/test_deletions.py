"""Sessions whose deletion is cut off in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from typing import Any

import pytest
from agent_framework import Agent
from tests import polling
from tests.agents import world
from tests.conformance import workflows
from tests.durabletask import hosting
from tests.durabletask.scheduler import Scheduler
from tests.replay import fronts

from perdure import AgentFunctionApp, errors
from perdure.agents import naming
from perdure.hosts.durabletask import hub
from perdure.hosts.replay import deletions, sessions, start_records
from perdure.payloads import records, store
from perdure.testing import ScriptedChatClient

SESSION = naming.instance("helper", "s1")


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files in which the first turn is spoken of; others may be deleting them."""
    found: list[pathlib.Path] = []
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if b"I am Ann." in file.read_bytes():
                found.append(file)
    return found


@pytest.mark.parametrize("cut", ["raise_event", "wait", "purge"])
@pytest.mark.parametrize("then", ["deleted", "begun"])
async def test_a_deletion_that_was_cut_off_is_finished_by_the_next_and_by_the_next_turn(
    tmp_path: pathlib.Path, scheduler: Scheduler, cut: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees the session meanwhile; and what it kept goes."""

    async def killed(self: hub.Hub, instance_id: str, connected: Any) -> None:
        """The worker, which would do it as well."""

    if cut == "purge":
        monkeypatch.setattr(hub.Hub, "_ended", killed)
    app = AgentFunctionApp(app_folder=world.TESTS)
    app.add_agent(Agent(client=ScriptedChatClient(["Noted.", "Who?"]), name="helper"))
    stores = hub.stores(str(tmp_path), "test", {})
    async with hosting.SchedulerHost(app, scheduler=scheduler, port=0, stores=stores) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        await talk.say("I am Ann.", session_id="s1")
        assert files(tmp_path), "the test looks where nothing is"
        engine: Any = fronts.Line(host.sessions._engine)
        engine.refused.add(cut)
        dying = sessions.ReplaySessions(engine, stores.payloads, stores.records, host.sessions._bounds)
        with pytest.raises(errors.HubError):
            await dying.delete("helper", "s1")
        assert await host.sessions.get("helper", "s1") is None

        if then == "deleted":
            assert not await host.sessions.delete("helper", "s1")
        else:
            again = await talk.say("I am Bob.", session_id="s1")
            assert again.json()["message_count"] == 2
        first = naming.life(SESSION, 1)
        await polling.until(lambda: host.sessions._engine.get(first), lambda found: found is None)
        await polling.until(lambda: files(tmp_path), lambda found: not found)


async def test_a_worker_clears_away_what_came_late_for_runs_that_were_deleted(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it begins, and then each day."""
    kept = records.MemoryRecordStore()
    stores = hub.Stores(store.MemoryPayloadStore(), kept)
    monkeypatch.setattr(hub, "SWEEP_SECONDS", 0.01)
    async with hosting.SchedulerHost(workflows.app_of(asyncio.Event()), scheduler=scheduler, stores=stores) as host:
        await host.start("echo", "hello", run_id="r")
        await host.outputs("r")
        owner = await start_records.owner(kept, "r")
        assert await host.runs.purge("r")
        await kept.put_if_absent(owner, "event/000000000001", b"late")
        assert await kept.names(deletions.MARKS), "a sweep has looked, and it is too early"
        monkeypatch.setattr(deletions, "LATE_SECONDS", 0.0)
        await polling.until(lambda: kept.names(deletions.MARKS), lambda marks: not marks)
        assert await kept.names(owner) == []
