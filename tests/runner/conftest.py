from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout.models import Rollout
    from tests.runner.signed_plans import Known


@pytest.fixture
def nothing_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """No preflight finds anything."""
    from rollout.engine.preflight import Preflight
    from rollout.queries import preflights

    monkeypatch.setattr(preflights, "preflight_of", lambda rollout, phase: Preflight([], []))


@pytest.fixture
def known(db: None) -> Iterator[Known]:
    """The plan that people sign."""
    from tests.runner.signed_plans import Known

    known = Known()
    yield known
    known.forget()


@pytest.fixture
def signed(known: Known) -> Rollout:
    """The rollout of that plan at the end of phase 0."""
    from django.utils import timezone

    from rollout.models import PhaseRun, RunState
    from rollout.queries.status import find_rollout

    signed = find_rollout("signed", "production")
    PhaseRun.objects.create(
        rollout=signed, phase=0, state=RunState.DONE, actor_name="ada", finished_at=timezone.now()
    )
    return signed
