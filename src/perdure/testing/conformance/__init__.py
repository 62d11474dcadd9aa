"""Suites of tests that every back end of a seam must pass, to be subclassed in a test module.

They need pytest with pytest-asyncio, whose marker each suite carries.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(f"{__name__}.orchestrations", f"{__name__}.payloads", f"{__name__}.runs")
