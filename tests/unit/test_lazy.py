from __future__ import annotations

import subprocess
import sys
import types

import pytest

import perdure
from perdure import testing

LOADED = "import sys, perdure.testing; print(*(name for name in sys.modules if name.startswith(('agent', 'perdure'))))"


@pytest.mark.parametrize("package", [perdure, testing])
def test_a_package_has_all_that_it_offers_and_nothing_else(package: types.ModuleType) -> None:
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match=f"^module '{package.__name__}' has no attribute 'Agency'$"):
        _ = package.Agency


def test_importing_a_package_loads_nothing_that_it_offers() -> None:
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) == {"perdure", "perdure._version", "perdure.lazy", "perdure.testing"}
