from __future__ import annotations

import pathlib
import sys

from tests.host import served
from tests.samples import tried


def _ask(it: tried.Tried, *arguments: str) -> tuple[int, list[str]]:
    url = it.host.url.removesuffix("/api") + "/runtime/webhooks/mcp"
    asked = served.Served([sys.executable, str(it.folder / "ask.py"), *arguments, "--url", url], {})
    code = asked.ended()
    asked.close()
    return code, asked.lines


def test_an_assistant_finds_the_agents_and_goes_on_with_a_session_after_a_kill(tmp_path: pathlib.Path) -> None:
    with tried.sample("mcp", tmp_path) as it:
        code, listed = _ask(it)
        assert (code, [line.partition(":")[0] for line in listed]) == (0, ["travel_rules", "phone_book"])
        told = _ask(it, "travel_rules", "Meals in France?", "--session", "ann-1")
        assert told == (0, ["France: 56 euros a day."])
        it.restart()
        assert _ask(it, "travel_rules", "And for me?", "--session", "ann-1") == (
            0,
            ["What is it about? (You asked 1 times before.)"],
        )
        code, refused = _ask(it, "travel_rules", "")
        assert code == 1 and refused


def test_on_the_wire_it_is_what_the_readme_shows(tmp_path: pathlib.Path) -> None:
    with tried.sample("mcp", tmp_path) as it:
        assert '"phone_book"' in it.send("Which tools").text
        assert "France: 56 euros a day." in it.send("Ask one").text
        assert "Meals in France?" in it.send("The conversation").text
        assert not it.unsent
