from __future__ import annotations

import json
import pathlib
import threading

from tests.host import served
from tests.samples import tried

from perdure.testing import ModelServer
from perdure.testing.model_server import Call, Reply


def test_the_report_has_a_section_of_each_reader_in_the_order_of_the_graph(tmp_path: pathlib.Path) -> None:
    with tried.sample("parallel_analysis", tmp_path) as it:
        (report,) = it.ask("A contract")["output"]
        events = it.ask("What went through")
        graph = it.ask("The graph")
        assert not it.unsent

    sections = {section["title"]: section["points"] for section in report["sections"]}
    assert list(sections) == ["risks", "duties", "left_open", "figures"]
    assert sections["risks"][0] == "Late payment bears a penalty of EUR 50."
    assert sections["duties"][1] == "The client must pay EUR 1,200 by the fifth of each month."
    assert sections["left_open"][0] == "Windows are cleaned from time to time."
    assert sections["figures"] == ["EUR 1,200", "EUR 50", "3 months", "30 September 2026"]
    assert report["words"] == 58
    assert [one["type"] for one in events["events"]].count("executor_completed") == 6
    assert events["next"] is None
    assert len(graph["edges"]) == 8


def test_the_readers_are_at_work_at_once_and_a_large_contract_stays_out_of_the_events(tmp_path: pathlib.Path) -> None:
    all_here = threading.Event()
    contract = "The parties shall be polite. " * 20_000

    def reply(call: Call) -> Reply:
        assert call.last_text == contract
        if len(server.calls) == 3:
            all_here.set()
        return Reply('{"points": ["Be polite."]}', wait_for=all_here)

    with ModelServer(reply) as server, tried.sample("parallel_analysis", tmp_path, model=server.base_url) as it:
        answer = served.post(it.host.url, contract, run_id="long", wait=20)
        page = served.http.get(
            f"{it.host.url}/workflow/contract/events/long", headers={"Accept": "application/json"}
        ).content

    (report,) = answer.json()["output"]
    assert [section["points"] for section in report["sections"]][:3] == [["Be polite."]] * 3
    assert report["words"] == 100_000
    assert len(page) < 16 * 1024


def test_after_a_kill_only_the_reader_that_had_not_answered_is_asked_again(tmp_path: pathlib.Path) -> None:
    asked, never = threading.Event(), threading.Event()

    def reply(call: Call) -> Reply:
        if "must be done" in json.dumps(call.body) and not asked.is_set():
            asked.set()
            return Reply("Too late.", wait_for=never)
        return Reply('{"points": ["Found."]}')

    with ModelServer(reply) as server, tried.sample("parallel_analysis", tmp_path, model=server.base_url) as it:
        served.post(it.host.url, "The client must pay.", run_id="r")
        done = 0
        for line in served.events(it.host.url, "r", "contract"):
            done += line == "event: executor_completed"
            if done == 4:  # the intake, two readers and the figures
                break
        assert asked.wait(served.PATIENCE_SECONDS)
        it.restart()
        ended = served.finished(it.host.url, "r", "contract")

    assert ended["runtimeStatus"] == "Completed", ended
    assert len(server.calls) == 4
