"""Small disks of their own, to be filled."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def mounted(place: pathlib.Path, size_bytes: int) -> Iterator[pathlib.Path]:
    """Mount a tmpfs of this size at a folder that is made for it; the test is skipped where that cannot be had."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(place)]
    try:
        there = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        there = False
    if not there:
        pytest.skip("A small tmpfs could not be mounted: that takes Linux and root.")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
