from __future__ import annotations

import pathlib

from tests.host import served
from tests.samples import tried

from perdure.testing import ModelServer

DRAFT = "Thank you for your mail. We will look into it."


def test_a_draft_is_sent_back_and_the_next_one_is_approved_after_a_kill(tmp_path: pathlib.Path) -> None:
    with tried.sample("approval", tmp_path) as it:
        it.ask("A mail comes in")
        first = it.asked("approval", "mail-1", 1)
        assert it.host.expect("To be approved: POST (.*)")[1] == first["respondUrl"]
        it.ask("Send it back")
        second = it.asked("approval", "mail-1", 2)
        it.restart()
        it.ask("Approve")
        it.events("approval", "mail-1", "completed")
        ended = it.ask("What came of it")
        assert not it.unsent

    mail = "Where is my parcel? It should have come on Monday."
    assert first["requestData"] == {"mail": mail, "draft": DRAFT, "round": 1}
    assert set(first["responseSchema"]["properties"]) == {"approved", "text", "feedback"}
    assert "deadline" in first
    assert second["requestData"]["round"] == 2
    assert ended["output"] == ["Reply sent: Thank you for your mail. (Say that it comes on Friday.)"]


def test_an_answer_that_fits_not_is_refused_and_one_may_edit_the_draft(tmp_path: pathlib.Path) -> None:
    with ModelServer(["A draft."]) as server, tried.sample("approval", tmp_path, model=server.base_url) as it:
        it.ask("A mail comes in")
        asked = it.asked("approval", "mail-1", 1)
        wrong = served.http.post(asked["respondUrl"], json={"approved": "maybe"})
        edited = served.http.post(asked["respondUrl"], json={"approved": True, "text": "It comes on Friday."})
        it.events("approval", "mail-1", "completed")
        ended = it.ask("What came of it")

    assert asked["requestData"]["draft"] == "A draft."
    assert (wrong.status_code, edited.status_code) == (422, 200)
    assert ended["output"] == ["Reply sent: It comes on Friday."]
