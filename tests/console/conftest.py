from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout.models import Rollout


@pytest.fixture
def clean_target(db: None) -> Iterator[None]:
    """What a test commits to the engine's tables beside Django's transaction goes with it."""
    from tests.support.rollouts import target

    yield
    with target() as opened:
        opened.execute(
            "TRUNCATE rollout.lanes, rollout.throughputs, rollout.losses, rollout.quarantine,"
            " rollout.paces, rollout.throttles"
        )


@pytest.fixture
def before_phase_3(rollout: Rollout) -> Rollout:
    from tests.console import journal

    for phase in (0, 1, 2):
        journal.ran(rollout, phase)
    return rollout
