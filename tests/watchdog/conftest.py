from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.servers import Database

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from rollout.models import Rollout


@pytest.fixture
def tiny(committed_db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rollout]:
    """A rollout whose phases change nothing and take no time."""
    from rollout.runner import lease
    from tests import rollouts

    monkeypatch.setattr(lease, "_LOOK_EVERY", 0.01)
    with rollouts.tiny_plan() as plan:
        yield rollouts.the_rollout(plan.name)
