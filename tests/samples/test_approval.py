from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.people import desk

from perdure.hosts.local import loading

FOLDER = pathlib.Path(__file__).parents[2] / "samples" / "approval"
MAIL = "Where is my parcel? It should have come on Monday."


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The sample as a host loads it, without a key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop("function_app", None)
    yield loading.load(FOLDER / "function_app.py")
    sys.modules.pop("function_app", None)


async def test_a_draft_is_sent_once_it_is_approved(app: Any) -> None:
    async with desk.hosted(app) as start:
        at = await start(MAIL)
        (asked,) = await at.parked(1)
        await at.again()
        await at.say(asked["requestId"], {"approved": True})
        output = await at.output()

    draft = "Thank you for your mail. We will look into it."
    assert asked["requestData"] == {"mail": MAIL, "draft": draft, "round": 1}
    assert set(asked["responseSchema"]["properties"]) == {"approved", "text", "feedback"}
    assert "deadline" in asked
    assert output == [f"Reply sent: {draft}"]


async def test_a_draft_that_is_sent_back_is_drafted_again_and_may_be_edited(app: Any) -> None:
    async with desk.hosted(app) as start:
        at = await start(MAIL)
        (first,) = await at.parked(1)
        await at.say(first["requestId"], {"approved": False, "feedback": "Say that it comes on Friday."})
        (second,) = await at.parked(2)
        wrong = await at.answer(second["requestId"], {"approved": "maybe"})
        await at.say(second["requestId"], {"approved": True, "text": "It comes on Friday."})
        output = await at.output()

    assert second["requestData"]["draft"] == "Thank you for your mail. (Say that it comes on Friday.)"
    assert second["requestData"]["round"] == 2
    assert wrong.status_code == 422
    assert output == ["Reply sent: It comes on Friday."]


async def test_the_person_is_told_where_to_answer(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with desk.hosted(app) as start:
        (asked,) = await (await start(MAIL)).parked(1)

    assert f"To be approved: POST {asked['respondUrl']}" in caplog.text
