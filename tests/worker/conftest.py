from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def pg_bin(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | str], None]:
    """Has the programs of one directory used."""

    def use(directory: Path | str) -> None:
        settings.ROLLOUT = {**settings.ROLLOUT, "PG_BIN": str(directory)}

    return use
