"""Microsoft's own worker library looks for the functions of many apps: run by a Python that has it.

It is told a folder, and answers with what was wrong with each module in it, by the module's name.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import sys
from typing import Any


def main() -> None:
    """Index each app by itself."""
    handle_event: Any = importlib.import_module("azure_functions_runtime.handle_event")
    meta: Any = importlib.import_module("azure_functions_runtime.bindings.meta")
    folder = pathlib.Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    meta.load_binding_registry()
    # Beside this file, which is run as a script.
    handle_event.protos = importlib.import_module("process").Kinds()
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.py")):
        try:
            handle_event.index_functions(str(file), str(folder))
        except Exception as error:
            found[file.stem] = f"{type(error).__name__}: {error}"
        else:
            found[file.stem] = ""
    print(json.dumps(found))


main()
