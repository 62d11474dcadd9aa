from __future__ import annotations

import subprocess
import sys

# In a process of its own, since what it tries takes down the process where it fails.
FIRST_USES = """
import sys
import threading

import msgspec

from perdure.hosts.replay import wire

sys.setswitchinterval(1e-6)
for round in range(150):
    inner = msgspec.defstruct(f"Inner{round}", [(f"f{n}", "list[int]", ()) for n in range(40)], array_like=True)
    kind = msgspec.defstruct(f"Kind{round}", [(f"f{n}", inner, None) for n in range(1)], array_like=True)
    body = wire.encode(kind(inner()))
    together = threading.Barrier(6)

    def use():
        together.wait()
        assert wire.decode(body, kind).f0 == inner()

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("all")
"""


def test_threads_that_meet_a_kind_for_the_first_time_at_once_all_decode_it() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_USES], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "all\n"), done.stderr[-2000:]
