from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout.models import Rollout
    from tests.watchdog.guarded_phases import Clock


@pytest.fixture
def each_kind_of_process_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one process is worker and watchdog."""
    from rollout.journal import heartbeats

    beat = heartbeats.beat

    def named_beat(kind: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(heartbeats, "process_name", lambda: f"host:{kind}")
            beat(kind)

    monkeypatch.setattr(heartbeats, "beat", named_beat)


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
