from __future__ import annotations

import pathlib

from tests.samples import tried


def test_both_sign_on_the_run_on_top_and_it_is_ordered_after_a_kill_between_them(tmp_path: pathlib.Path) -> None:
    with tried.sample("nested_approval", tmp_path) as it:
        it.ask("Somebody wants")
        first = it.asked("purchase", "laptop-1", 1)
        it.ask("Sign.")
        second = it.asked("purchase", "laptop-1", 2)
        it.restart()
        assert it.asked("purchase", "laptop-1", 2) == second
        it.ask("Sign.")
        it.events("purchase", "laptop-1", "completed")
        ended = it.ask("What came of it")

        assert ended["output"] == ["Ordered: Laptop, signed by manager and director"]
        assert first["requestId"].startswith("sign_off~0~")
        assert second["requestData"]["signed_by"] == ["manager"]
        assert second["requestData"]["purchase"] == {"item": "Laptop", "price": 1800.0, "wanted_by": "Ann"}
        assert second["responseSchema"]["required"] == ["approved"]


def test_a_refusal_ends_it_and_the_signatory_was_told_the_address(tmp_path: pathlib.Path) -> None:
    with tried.sample("nested_approval", tmp_path) as it:
        refused = it.send("A purchase that is none")
        assert refused.status_code == 400
        assert {error["pointer"] for error in refused.json()["errors"]} == {"/price", "/wanted_by"}
        it.ask("Somebody wants")
        asked = it.asked("purchase", "laptop-1", 1)
        assert it.host.expect("For the manager to sign: POST (.*)")[1] == asked["respondUrl"]
        it.ask("Or refuse.")
        it.events("purchase", "laptop-1", "completed")
        assert it.ask("What came of it")["output"] == ["Not ordered: Laptop, refused by manager (Next year.)"]
