from __future__ import annotations

from tests.console.conftest import rollout

__all__ = ["rollout"]
