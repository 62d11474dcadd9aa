from __future__ import annotations

import http.server
import json
import pathlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.host import served
from tests.samples import tried

from perdure.testing import ModelServer
from perdure.testing.model_server import Call, Reply

CHAPTERS = ["Getting there", "What to see", "Where to eat"]
ASKED = "And in the evening?"


def _follow(it: tried.Tried, place: str = "Lisbon") -> served.Served:
    return served.Served([sys.executable, str(it.folder / "follow.py"), "guide-1", place, "--url", it.host.url], {})


def _ask(it: tried.Tried) -> served.Served:
    return served.Served([sys.executable, str(it.folder / "ask.py"), "ann-1", ASKED, "--url", it.host.url], {})


def _ended(client: served.Served) -> list[str]:
    """Wait for a client's end; gives what it printed."""
    assert client.ended() == 0, client.output
    client.close()
    return client.lines


def test_the_guide_is_followed_to_its_end_and_its_writer_answers_here_and_in_the_hosts_terminal(
    tmp_path: pathlib.Path,
) -> None:
    with tried.sample("streaming", tmp_path) as it:
        following = _ended(_follow(it))
        it.ask("A guide")
        stream = it.send("What happens in it").text
        page = it.ask("The same in pages")["events"]
        rest = it.send("What happens in it", last="5").text
        answer = it.ask("Ask the writer")["response"]
        it.host.expect(r"\(guide, session ann-1\)")
        heard = it.send("Ask again").text
        asked = _ended(_ask(it))
        assert not it.unsent

    assert f"{answer}  (guide, session ann-1)" in it.host.output
    assert [line for line in following if line.startswith("##")] == [f"## {title}" for title in CHAPTERS]
    assert "\n".join(following).count("Climb the tower at dusk.") == 1
    assert following[0] == "[3] edit ..."
    assert following[-1].endswith("completed")
    told = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert told == page
    assert told[-1]["type"] == "completed"
    assert rest.count("data: ") == len(told) - 5
    assert heard.count("event: delta") > 5 and heard.count("event: answer") == 1
    assert asked == [answer, ""]


class Halting:
    """A model that stops after a heading, the first time that it is asked for that."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.asked = 0
        self.go_on = threading.Event()

    def __call__(self, call: Call) -> Reply:
        if "Which chapters" in call.last_text:
            return Reply(json.dumps({"chapters": CHAPTERS}))
        title = next((title for title in CHAPTERS if title in call.last_text), ASKED)
        said = f"## {title}\n\nOne of it. Two of it."
        self.asked += title == self.title
        if title != self.title or self.asked > 1:
            return Reply(said)
        # The first event of a stream has no word in it.
        return Reply(said, wait_for=self.go_on, wait_after=1 + len(f"## {title}".split()))


def _chapter(title: str) -> list[str]:
    return [f"## {title}", "", "One of it. Two of it.", ""]


def _unnumbered(lines: list[str]) -> list[str]:
    return [line.partition("] ")[2] if line.startswith("[") else line for line in lines]


def test_a_chapter_is_read_while_it_is_written_and_stands_there_once(tmp_path: pathlib.Path) -> None:
    model = Halting(CHAPTERS[1])
    with ModelServer(model) as server, tried.sample("streaming", tmp_path, model=server.base_url) as it:
        following = _follow(it)
        # The model has said no more than this.
        following.expect("## What to see")
        assert "One of it" not in following.output.partition("What to see")[2]
        model.go_on.set()
        lines = _ended(following)

    chapters = [line for title in CHAPTERS for line in ["write ...", *_chapter(title), "edit ..."]]
    assert _unnumbered(lines) == ["edit ...", *chapters, "completed"]


def test_a_host_killed_in_the_middle_of_a_chapter_writes_it_anew_and_all_stand_there_once_but_what_broke_off(
    tmp_path: pathlib.Path,
) -> None:
    model = Halting(CHAPTERS[1])
    with ModelServer(model) as server, tried.sample("streaming", tmp_path, model=server.base_url) as it:
        following = _follow(it)
        following.expect("## What to see")
        it.host.kill()
        following.expect("trying again")
        it.restart()
        lines = _ended(following)

    numbered = [line.partition("]")[0] for line in lines if line.startswith("[")]
    assert len(set(numbered)) == len(numbered)
    told = [line for line in _unnumbered(lines) if "trying again" not in line]
    broken = told.index("## What to see")
    # What was said of it stays, marked, and the chapter begins anew below; nothing else was asked again.
    assert told[broken : broken + 3] == ["## What to see", "", " ..."]
    del told[broken : broken + 4]
    chapters = [line for title in CHAPTERS for line in ["write ...", *_chapter(title), "edit ..."]]
    assert told == ["edit ...", *chapters, "completed"]
    assert len(server.calls) == 5


def test_a_question_outlives_the_host_that_was_answering_it(tmp_path: pathlib.Path) -> None:
    model = Halting(ASKED)
    with ModelServer(model) as server, tried.sample("streaming", tmp_path, model=server.base_url) as it:
        asking = _ask(it)
        asking.expect(r"## And in the evening\?")
        it.host.kill()
        asking.expect("trying again")
        it.restart()
        lines = _ended(asking)
        turns = served.http.get(f"{it.host.url}/agents/guide/sessions/ann-1").json()["turns"]

    assert lines[-4:] == _chapter(ASKED)
    assert len(turns) == 1 and len(server.calls) == 2


def test_what_the_host_refuses_ends_the_client_with_the_reason(tmp_path: pathlib.Path) -> None:
    with tried.sample("streaming", tmp_path) as it:
        it.ask("A guide")
        following = _follow(it, "Porto")
        assert following.ended() == 1
        following.close()
    assert following.lines[0].startswith("409: ")


def _event(kind: str, data: object, id: int | None = None) -> str:
    event = {"type": kind, "data": data} | ({} if id is None else {"id": id})
    number = "" if id is None else f"id: {id}\n"
    return f"{number}event: {kind}\ndata: {json.dumps(event)}\n\n"


def _delta(text: str, mode: str = "append") -> str:
    part = {"type": "text", "text": text, "merge_mode": mode}
    return _event("delta", {"executorId": "write", "data": {"contents": [part]}})


def _output(text: str, id: int) -> str:
    return _event("output", {"data": {"messages": [{"contents": [{"type": "text", "text": text}]}]}}, id)


@contextmanager
def _host(streams: list[str]) -> Iterator[tuple[str, list[str | None]]]:
    """A host that gives these streams, one a connection; gives its address, and the last ids that it was asked with."""
    asked: list[str | None] = []

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Last-Event-ID"])
            self._answer(streams[len(asked) - 1])

        def do_POST(self) -> None:
            self._answer("{}")

        def _answer(self, body: str) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Host) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def _followed(streams: list[str]) -> tuple[list[str], list[str | None]]:
    """Follow a run whose host gives these streams; gives what was printed, and where each connection went on from."""
    client = str(tried.SAMPLES / "streaming" / "follow.py")
    with _host(streams) as (url, asked):
        lines = _ended(served.Served([sys.executable, client, "guide-1", "Lisbon", "--url", url], {}))
    return lines, asked


def test_an_event_cut_in_the_middle_does_not_move_the_place_to_go_on_from() -> None:
    begun = f"{_output('One.', 4)}{_delta('Two')}id: 5\nevent: completed\ndata: {{"
    lines, asked = _followed([begun, _output("Two.", 5) + _event("completed", {}, 6)])
    assert asked == ["0", "4"]
    assert lines == ["One.", "", "Two ...", "", "Two.", "", "[6] completed"]


@pytest.mark.parametrize(
    ("streams", "shown"),
    [
        ([_delta("One ") + _delta("two.") + _output("One two.", 4)], ["One two."]),
        ([_delta("One ") + _delta("two.") + _delta("One two.", "replace") + _output("One two.", 4)], ["One two."]),
        # Nothing was heard of it, or not the end of it.
        ([_output("One two.", 4)], ["One two."]),
        ([_delta("One ") + _output("One two.", 4)], ["One two."]),
        # The connection broke, the host did not: the rest is said, and then all of it is shown.
        ([_delta("One "), _delta("two.") + _output("One two.", 4)], ["One  ...", "", "two. ...", "", "One two."]),
        # It broke after the whole was there.
        ([_delta("One two.") + _output("One two.", 4), ""], ["One two."]),
        # A step that failed is tried again, and says something else.
        (
            [
                _delta("One ")
                + _event("executor_retry", {"executorId": "write", "error": {"message": "no"}}, 4)
                + _delta("Three.")
                + _output("Three.", 5)
            ],
            ["One  ...", "", "[4] write failed, and tries again: no", "Three."],
        ),
    ],
)
def test_an_answer_stands_there_once_however_it_came(streams: list[str], shown: list[str]) -> None:
    lines, _ = _followed([*streams[:-1], streams[-1] + _event("completed", {}, 9)])
    assert lines == [*shown, "", "[9] completed"]
