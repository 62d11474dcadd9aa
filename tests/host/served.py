"""An app's folder, hosted by ``perdure start`` in a process of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
from tests import polling

PATIENCE_SECONDS = 30.0
RUN_SECONDS = 60.0
"""How long a run's events are waited for: a run that is stuck goes on to say that its host is there."""

# Made once: each client makes a TLS context, which takes longer than what is measured here.
http = httpx.Client(
    timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False, verify=False
)

HEADER = """\
from __future__ import annotations

import asyncio
import os
import pathlib
import sys
import time
from dataclasses import dataclass
from typing import Never

from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler

from perdure import AgentFunctionApp

HERE = pathlib.Path(__file__).parent


def told(line: str) -> None:
    with (HERE / "ran").open("a") as file:
        file.write(f"{line}\\n")

"""


def write_app(folder: pathlib.Path, body: str, *, header: str = HEADER) -> pathlib.Path:
    """Write an app's file; gives its folder."""
    folder.mkdir(exist_ok=True)
    (folder / "function_app.py").write_text(header + textwrap.dedent(body))
    return folder


def let_through(fifo: pathlib.Path) -> None:
    """Let go whoever opens a fifo for reading; it is waited for, but not for ever, as opening it plainly would."""

    def opened() -> bool:
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return False
        return True

    polling.blocking_until(opened, bool)


def ran(folder: pathlib.Path) -> list[str]:
    """What the app's executors told."""
    file = folder / "ran"
    return file.read_text().splitlines() if file.exists() else []


class Served:
    """A host in a process, its output as it comes.

    Attributes:
        url: Where its API starts; once ``ready`` has returned.
        lines: What it printed so far.
    """

    def __init__(self, arguments: Sequence[str | pathlib.Path], environment: Mapping[str, str]) -> None:
        self.url = ""
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._over = False
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # No bytecode: code that a test writes anew within a second, at the same length, would be taken for the old.
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    @property
    def output(self) -> str:
        """All that it printed so far."""
        return "\n".join(self.lines)

    def expect(self, pattern: str, seconds: float = PATIENCE_SECONDS) -> re.Match[str]:
        """Wait until a line has this."""
        deadline = time.monotonic() + seconds
        with self._news:
            seen = 0
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self.lines)
                left = deadline - time.monotonic()
                assert not self._over and left > 0, f"no {pattern!r} in:\n{self.output}"
                self._news.wait(left)

    def ready(self) -> str:
        """Wait until it serves; gives where its API starts."""
        self.url = self.expect(r"Try it: (http://\S+)/docs")[1]
        return self.url

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; gives the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        assert not self._reader.is_alive(), f"it has ended, and its output is held open by another:\n{self.output}"
        return code

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.ended()

    def close(self) -> None:
        """End it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def start(
    folder: pathlib.Path,
    *options: str | pathlib.Path,
    prefix: Sequence[str] = (),
    wait: bool = True,
    port: int = 0,
    **environment: str,
) -> Iterator[Served]:
    """Start a host on an app's folder; at the end it is killed if it still runs.

    Args:
        folder: The app's folder.
        options: More of the command line.
        prefix: What stands between Python and ``-m perdure.cli``.
        wait: Whether to wait until it serves.
        port: The port to listen on.
        environment: More of the environment.
    """
    command = [sys.executable, *prefix, "-m", "perdure.cli", "start", folder, "--port", str(port), *options]
    served = Served(command, environment)
    try:
        if wait:
            served.ready()
        yield served
    finally:
        served.close()


def stop(served: Served, number: int = signal.SIGTERM) -> None:
    """Stop a host as one stops it; it must end well."""
    served.signal(number)
    assert served.ended(15) == 0, served.output


def post(url: str, value: Any, *, run_id: str | None = None, wait: float | None = None) -> httpx.Response:
    """Start a run of the only workflow, or find it."""
    return http.post(
        f"{url}/workflow/run",
        json=value,
        params={} if run_id is None else {"runId": run_id},
        headers={} if wait is None else {"Prefer": f"wait={wait:g}"},
    )


def status(url: str, run_id: str, workflow: str = "flow") -> dict[str, Any]:
    """Give a run's status."""
    answer = http.get(f"{url}/workflow/{workflow}/status/{run_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(url: str, run_id: str, workflow: str = "flow") -> Iterator[str]:
    """Give the lines of a run's event stream as they come."""
    deadline = time.monotonic() + RUN_SECONDS
    with http.stream("GET", f"{url}/workflow/{workflow}/events/{run_id}") as stream:
        for line in stream.iter_lines():
            # A heartbeat comes now and then, so this is looked at, whatever the run does.
            assert time.monotonic() < deadline, f"no end of the events of {status(url, run_id, workflow)}"
            yield line


def finished(url: str, run_id: str, workflow: str = "flow") -> dict[str, Any]:
    """Wait for a run's end; gives its status then."""
    for _ in events(url, run_id, workflow):
        pass
    return status(url, run_id, workflow)
