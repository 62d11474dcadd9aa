"""User code runs in the process that was started, so that a breakpoint in it is hit."""

from __future__ import annotations

import pathlib
from concurrent import futures

from . import debugger, served

APP = """
    @executor(id="shout")
    async def shout(text: str, ctx: WorkflowContext[Never, str]) -> None:
        loud = text.upper()
        await ctx.yield_output(loud)  # the breakpoint


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=shout).build())
"""

DEBUGPY = ["--log-to-stderr", "--listen", "127.0.0.1:0", "--wait-for-client"]
LISTENS = r"accepting incoming client connections on \S+:(\d+)"


def test_a_breakpoint_in_an_executor_is_hit(tmp_path: pathlib.Path) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    file = folder / "function_app.py"
    lines = file.read_text().splitlines()
    (line,) = (number for number, text in enumerate(lines, 1) if "# the breakpoint" in text)
    with (
        served.start(
            folder,
            prefix=["-Xfrozen_modules=off", "-m", "debugpy", *DEBUGPY],
            wait=False,
            PYDEVD_DISABLE_FILE_VALIDATION="1",
        ) as host,
        debugger.Debugger(int(host.expect(LISTENS)[1])) as attached,
        futures.ThreadPoolExecutor(1) as threads,
    ):
        attached.ask("initialize", adapterID="test", clientID="test", pathFormat="path", linesStartAt1=True)
        attaching = attached.send("attach", justMyCode=True)
        attached.event("initialized")
        attached.ask("setBreakpoints", source={"path": str(file)}, breakpoints=[{"line": line}])
        attached.ask("configurationDone")
        attached.answer(attaching)
        url = host.ready()

        # A breakpoint stops all threads, the one too that would answer.
        posted = threads.submit(served.post, url, "hello", run_id="r")
        stopped = attached.event("stopped")
        assert stopped["reason"] == "breakpoint"
        (frame, *_) = attached.ask("stackTrace", threadId=stopped["threadId"])["stackFrames"]
        assert (frame["name"], frame["line"], frame["source"]["path"]) == ("shout", line, str(file))
        assert attached.ask("evaluate", expression="loud", frameId=frame["id"])["result"] == "'HELLO'"
        attached.ask("continue", threadId=stopped["threadId"])
        assert posted.result().status_code == 202
        assert served.finished(url, "r")["output"] == ["HELLO"]
        attached.ask("disconnect", terminateDebuggee=False)
        served.stop(host)
