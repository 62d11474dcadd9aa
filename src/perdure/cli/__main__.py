from __future__ import annotations

from perdure import cli

cli.main()
