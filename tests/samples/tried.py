"""A sample's folder, copied, set up as its README says and hosted by ``perdure start``; sent its own demo.http."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from tests import polling
from tests.host import served
from tests.samples import requests

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"
NO_MODEL = dict.fromkeys(("FOUNDRY_PROJECT_ENDPOINT", "OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_BASE_URL"), "")


class Tried:
    """A sample on a started host.

    Attributes:
        folder: The copy that is hosted.
        host: The process; another one after a restart.
    """

    def __init__(self, folder: pathlib.Path, model: str) -> None:
        self.folder = folder
        self.host: served.Served
        self._environment = (
            NO_MODEL | {"OPENAI_API_KEY": "none", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": model} if model else NO_MODEL
        )
        self._demo = requests.demo(folder / "demo.http")
        self._answers: dict[str, Any] = {}
        self._sent: set[str] = set()
        self._hosting = contextlib.ExitStack()

    def start(self, port: int = 0) -> None:
        """Start the host."""
        host = served.start(self.folder, prefix=(), wait=True, port=port, **self._environment)
        self.host = self._hosting.enter_context(host)

    def restart(self) -> None:
        """Kill the host with -9 and start it again at the same port."""
        port = httpx.URL(self.host.url).port
        assert port is not None
        self.close()
        self.start(port)

    def close(self) -> None:
        """Kill the host."""
        self._hosting.close()

    def send(self, title: str, **variables: str) -> httpx.Response:
        """Send the one request of demo.http whose title starts so; gives the answer, whatever it is.

        Args:
            title: How its title starts.
            variables: What variables are to be, instead of what demo.http says.
        """
        (written,) = [one for one in self._demo.requests if one.title.startswith(title)]
        request = written.filled(lambda name: self._value(name, variables))
        answer = served.http.request(
            request.method, request.url, headers=dict(request.headers), content=request.body or None
        )
        self._sent.add(written.title)
        if written.name:
            self._answers[written.name] = answer.json()
        return answer

    def ask(self, title: str, **variables: str) -> dict[str, Any]:
        """Send a request, which must be answered with JSON and no error; gives that."""
        answer = self.send(title, **variables)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def asked(self, workflow: str, run_id: str, times: int) -> dict[str, Any]:
        """Wait until a run has been parked so often; gives the one request that is open then."""
        self.events(workflow, run_id, "parked", times)
        (title,) = [one.title for one in self._demo.requests if one.name == "status"]
        (found,) = self.ask(title)["pendingHumanInputRequests"]
        asked: dict[str, Any] = found
        return asked

    def until(self, title: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Send a request again and again until its answer is as wanted: an orchestration's status is not pushed."""
        return polling.blocking_until(lambda: self.ask(title), holds)

    def _value(self, name: str, variables: Mapping[str, str]) -> str:
        if name in variables:
            return variables[name]
        if name == "host":
            return self.host.url.removesuffix("/api")
        if name in self._demo.variables:
            told = self._demo.variables[name]
            return self._value(told.strip("{} "), variables) if told.startswith("{{") else told
        named, _, path = name.partition(".response.body.")
        return requests.found(path, self._answers[named])

    def events(self, workflow: str, run_id: str, until: str, times: int = 1) -> list[dict[str, Any]]:
        """Follow a run until there were so many events of a type; gives the events up to it."""
        found = []
        for line in served.events(self.host.url, run_id, workflow):
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
                times -= found[-1]["type"] == until
                if times == 0:
                    return found
        raise AssertionError(f"no {until} in {found}")

    @property
    def unsent(self) -> set[str]:
        """The titles of the requests of demo.http that were not sent."""
        return {one.title for one in self._demo.requests} - self._sent


@contextlib.contextmanager
def sample(name: str, folder: pathlib.Path, *, model: str = "") -> Iterator[Tried]:
    """Host a copy of a sample.

    Args:
        name: The sample.
        folder: Where to copy it to.
        model: The address of a model server; without it no model is asked.
    """
    copy = folder / name
    shutil.copytree(
        SAMPLES / name, copy, ignore=shutil.ignore_patterns(".perdure", "__pycache__", "local.settings.json")
    )
    shutil.copy(copy / "local.settings.json.template", copy / "local.settings.json")
    tried = Tried(copy, model)
    try:
        tried.start()
        yield tried
    finally:
        tried.close()
