"""The samples whose orchestration is written by hand."""

from __future__ import annotations

import pathlib
import threading

from tests.samples import tried

from perdure.testing import ModelServer
from perdure.testing.model_server import Call, Reply


def test_chaining_shortens_what_it_wrote_before(tmp_path: pathlib.Path) -> None:
    with tried.sample("chaining", tmp_path) as it:
        found = it.ask("The facts")
        assert it.send("Nothing in").status_code == 400
        assert it.send("The agent has").text.startswith("Join us! Cook in Trier.")
        assert not it.unsent

    assert found == {
        "draft": "Join us! Gardener in Bonn, four days a week. We are a friendly team. We look forward to your letter.",
        "advert": "Join us! Gardener in Bonn, four days a week.",
    }


def test_chaining_shows_the_model_the_first_turn_in_the_second(tmp_path: pathlib.Path) -> None:
    with (
        ModelServer(["A long advert.", "An advert."]) as server,
        tried.sample("chaining", tmp_path, model=server.base_url) as it,
    ):
        assert it.ask("The facts") == {"draft": "A long advert.", "advert": "An advert."}

    said = [(message["role"], str(message["content"])) for message in server.calls[1].body["messages"]]
    assert [role for role, _ in said] == ["system", "user", "assistant", "user"]
    assert "Gardener in Bonn" in said[1][1] and "A long advert." in said[2][1]


def test_concurrency_gathers_what_both_reviewers_object_to(tmp_path: pathlib.Path) -> None:
    with tried.sample("concurrency", tmp_path) as it:
        both, one, none = it.ask("A proposal"), it.ask("One that only"), it.ask("One that nobody")
        assert not it.unsent

    assert both["objections"] == {
        "security": ["What is public is found."],
        "cost": ["So many servers stand idle at night."],
    }
    assert one == {"accepted": False, "objections": {"security": ["A password in a file will leak."], "cost": []}}
    assert none == {"accepted": True, "objections": {"security": [], "cost": []}}


def test_concurrency_asks_both_models_before_either_has_answered(tmp_path: pathlib.Path) -> None:
    both_here = threading.Event()

    def reply(call: Call) -> Reply:
        if len(server.calls) == 2:
            both_here.set()
        return Reply('{"objections": []}', wait_for=both_here)

    with ModelServer(reply) as server, tried.sample("concurrency", tmp_path, model=server.base_url) as it:
        assert it.ask("A proposal")["accepted"] is True


def test_conditionals_go_the_way_that_the_mail_needs(tmp_path: pathlib.Path) -> None:
    with tried.sample("conditionals", tmp_path) as it:
        assert it.ask("Money back, with") == {"about": "refund", "reply": "Order 1002 is paid back within three days."}
        assert it.ask("Money back, but")["reply"].startswith("Which order is it?")
        fault = it.ask("A fault")
        assert it.ask("Something else") == {"about": "other", "reply": "One of us will answer you tomorrow."}
        assert not it.unsent

    assert fault["about"] == "fault"
    assert fault["reply"].startswith("A drop of oil")


def test_approval_is_drafted_again_when_sent_back_and_a_kill_in_between_changes_nothing(tmp_path: pathlib.Path) -> None:
    with tried.sample("approval_orchestration", tmp_path) as it:
        it.ask("A mail comes in")
        it.host.expect("mail-1 is to be decided")
        shown = it.ask("What is to be decided")["customStatus"]
        assert it.send("A decision that is none").status_code == 400
        it.restart()
        assert it.send("Send it back").status_code == 202
        it.host.expect(r"mail-1 is to be decided: .*\(Say that it comes on Friday\.\)")
        assert it.send("Approve").status_code == 202
        ended = it.until("What is to be decided", lambda status: status["runtimeStatus"] == "Completed")
        late = it.send("Approve")

    assert shown["draft"] == "Thank you for your mail. We will look into it."
    assert ended["output"] == "Reply sent: Thank you for your mail. (Say that it comes on Friday.)"
    assert (late.status_code, late.text) == (409, "There is nothing to decide.")


def test_approval_sends_nothing_when_nobody_decides_in_time(tmp_path: pathlib.Path) -> None:
    with tried.sample("approval_orchestration", tmp_path) as it:
        it.ask("A mail that waits")
        ended = it.until("What became of it", lambda status: status["runtimeStatus"] == "Completed")
    assert ended["output"] == "No reply sent: nobody decided in time."
