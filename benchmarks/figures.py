"""What the benchmarks share: medians, targets, the machine, and a report as text and JSON."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

FSYNC_PROBES = 50


@dataclass(slots=True)
class Report:
    """Figures as they come: printed at once, and kept for the JSON file.

    Attributes:
        name: Of the benchmark.
        rows: What was measured.
    """

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def head(self, folder: pathlib.Path) -> None:
        """Say on what machine this runs."""
        machine = {
            "python": platform.python_version(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "fsync_ms": round(fsync_seconds(folder) * 1e3, 3),
        }
        said = ", ".join(f"{key} {value}" for key, value in machine.items())
        click.echo(f"{self.name}: {said}\n")
        self.rows.append({"machine": machine})

    def add(self, line: str, **values: Any) -> None:
        """Print a line and keep its figures."""
        click.echo(line)
        self.rows.append(values)

    def save(self, file: str | None) -> None:
        """Write the figures as JSON, if a file is named."""
        if file is not None:
            pathlib.Path(file).write_text(json.dumps({"benchmark": self.name, "rows": self.rows}, indent=1) + "\n")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Give the median of the ratios within each round: what disturbs a round disturbs both of its figures."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def judged(value: float, *, least: float | None = None, most: float | None = None, digits: int = 2) -> str:
    """Show a value beside its target."""
    if least is not None:
        return f"{value:.{digits}f} (target >= {least:g}: {'met' if value >= least else 'MISSED'})"
    if most is not None:
        return f"{value:.{digits}f} (target <= {most:g}: {'met' if value <= most else 'MISSED'})"
    return f"{value:.{digits}f}"


def fsync_seconds(folder: pathlib.Path) -> float:
    """Give the median time of an append of 4 KiB and its fsync."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FSYNC_PROBES):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return median(taken)


def memory_bytes() -> int:
    """Give the resident memory of this process, as it is now where the system tells, else at its highest."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    import resource
    import sys

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
