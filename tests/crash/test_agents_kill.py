"""kill -9 of a host in the middle of agents' turns: nothing accepted is lost, nothing answered is asked again.

The model is a server in the test's process, so that it sees every call of every life of the host.
"""

from __future__ import annotations

import collections
import concurrent.futures
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.host import served

from perdure.testing import ModelServer, model_server

APP = """
from agent_framework import Agent
from agent_framework.openai import OpenAIChatCompletionClient

client = OpenAIChatCompletionClient(model="scripted", api_key="none", base_url=os.environ["MODEL"])
app = AgentFunctionApp(agents=[Agent(client=client, name="helper")])


@app.orchestration_trigger(context_name="context")
def drafting(context):
    helper = app.get_agent(context, "helper")
    session = helper.create_session(session_id="drafting")
    yield helper.run("first", session=session)
    parts = yield context.task_all([helper.run(f"part {number}") for number in range(5)])
    last = yield helper.run("last", session=session)
    return [each.text for each in (*parts, last)]
"""
SESSIONS = 50


class Model:
    """A model that echoes; it is slow with some questions, until it is let go.

    Args:
        slow: Which questions.
        awaited: How many slow calls there are to be before ``reached`` is set.
    """

    def __init__(self, slow: Callable[[str], bool], awaited: int = 1) -> None:
        self.opened = threading.Event()
        self.reached = threading.Event()
        self._slow = slow
        self._awaited = awaited
        self._lock = threading.Lock()
        self.server = ModelServer(self._answer)

    def _answer(self, call: model_server.Call) -> model_server.Reply:
        if not self._slow(call.last_text):
            return model_server.Reply(f"heard {call.last_text}")
        with self._lock:
            self._awaited -= 1
            if not self._awaited:
                self.reached.set()
        return model_server.Reply(f"heard {call.last_text}", wait_for=self.opened)

    @property
    def asked(self) -> collections.Counter[str]:
        """How often each question was asked."""
        return collections.Counter(call.last_text for call in self.server.calls)


def say(url: str, message: str, session_id: str, **more: Any) -> httpx.Response:
    body = {"message": message, "session_id": session_id, "correlation_id": f"{message} in {session_id}", **more}
    return served.http.post(f"{url}/agents/helper/run", json=body)


def conversation(url: str, session_id: str) -> list[tuple[str, str]]:
    """What was asked and answered in a session."""
    read = served.http.get(f"{url}/agents/helper/sessions/{session_id}").json()
    return [(turn["request"][0]["contents"][0]["text"], turn["status"]) for turn in read["turns"]]


def test_a_turn_killed_in_the_model_call_is_answered_and_what_was_answered_is_not_asked_again(
    tmp_path: pathlib.Path,
) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    model = Model(lambda text: text == "slow")
    with model.server as server:
        with served.start(folder, MODEL=server.base_url) as host:
            quick = say(host.url, "quick", "s").json()
            assert say(host.url, "slow", "s", wait_for_response=False).status_code == 202
            assert say(host.url, "queued", "s", wait_for_response=False).status_code == 202
            assert model.reached.wait(served.PATIENCE_SECONDS)
            host.kill()
        model.opened.set()
        with served.start(folder, MODEL=server.base_url) as host:
            queued = say(host.url, "queued", "s").json()
            host.kill()
        with served.start(folder, MODEL=server.base_url) as host:
            again = [say(host.url, message, "s").json() for message in ("quick", "slow", "queued")]
            found = conversation(host.url, "s")
            served.stop(host)

    assert [quick, queued] == [again[0], again[2]], "an answer that was given is the one that is given again"
    assert [answer["response"] for answer in again] == ["heard quick", "heard slow", "heard queued"]
    assert found == [("quick", "success"), ("slow", "success"), ("queued", "success")]
    assert model.asked == {"quick": 1, "slow": 2, "queued": 1}, "only the call in flight is made again"


def test_fifty_sessions_killed_mid_turn_lose_nothing_accepted_and_ask_nothing_answered_again(
    tmp_path: pathlib.Path,
) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    model = Model(lambda text: text.startswith("second"), SESSIONS)
    with model.server as server, concurrent.futures.ThreadPoolExecutor(SESSIONS) as pool:

        def everywhere(url: str, which: str, **more: Any) -> list[httpx.Response]:
            return list(pool.map(lambda n: say(url, f"{which} {n}", f"s{n}", **more), range(SESSIONS)))

        with served.start(folder, MODEL=server.base_url) as host:
            first = everywhere(host.url, "first")
            accepted = everywhere(host.url, "second", wait_for_response=False)
            accepted += everywhere(host.url, "third", wait_for_response=False)
            assert model.reached.wait(served.PATIENCE_SECONDS)
            host.kill()
        model.opened.set()
        with served.start(folder, MODEL=server.base_url) as host:
            third = everywhere(host.url, "third")
            again = everywhere(host.url, "first")
            found = list(pool.map(lambda n: conversation(host.url, f"s{n}"), range(SESSIONS)))
            served.stop(host)

    assert {answer.status_code for answer in accepted} == {202}
    assert [answer.json() for answer in first] == [answer.json() for answer in again]
    assert [answer.json()["response"] for answer in third] == [f"heard third {n}" for n in range(SESSIONS)]
    assert found == [[(f"{which} {n}", "success") for which in ("first", "second", "third")] for n in range(SESSIONS)]
    for which, times in (("first", 1), ("second", 2), ("third", 1)):
        assert {model.asked[f"{which} {n}"] for n in range(SESSIONS)} == {times}, which


@pytest.mark.parametrize("moment", ["part 3", "last"])
def test_an_orchestration_killed_in_an_agents_turn_goes_on_and_asks_nothing_answered_again(
    tmp_path: pathlib.Path, moment: str
) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    model = Model(lambda text: text == moment)
    with model.server as server:
        with served.start(folder, MODEL=server.base_url) as host:
            root = host.url.removesuffix("/api") + "/runtime/webhooks/durabletask"
            assert served.http.post(f"{root}/orchestrators/drafting/d").status_code == 202
            assert model.reached.wait(served.PATIENCE_SECONDS)
            host.kill()
        model.opened.set()
        with served.start(folder, MODEL=server.base_url) as host:
            root = host.url.removesuffix("/api") + "/runtime/webhooks/durabletask"
            host.expect("Orchestration 'd' .*Completed")
            ended = served.http.get(f"{root}/instances/d").json()
            found = conversation(host.url, "drafting")
            served.stop(host)

    assert ended["output"] == [*(f"heard part {number}" for number in range(5)), "heard last"]
    assert found == [("first", "success"), ("last", "success")]
    # Of the turns that ran beside the one that was killed, some may have been in flight too.
    sure = {text: count for text, count in model.asked.items() if text != moment and not text.startswith("part")}
    assert model.asked[moment] == 2 and set(sure.values()) == {1}
