from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout.models import Rollout
    from tests.watchdog.guarded_phases import Clock


@pytest.fixture
def clock(tiny: Rollout) -> Iterator[Clock]:
    """Time in which an application is measured, from long before the phase on."""
    from rollout.plan import plans
    from tests.support.rollouts import TINY
    from tests.watchdog.guarded_phases import Clock

    clock = Clock(tiny)
    clock.before_the_phase()
    yield clock
    plans._plans[-1] = TINY
