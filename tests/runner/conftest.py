import pytest


@pytest.fixture
def nothing_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """No preflight finds anything."""
    from rollout.engine.preflight import Preflight
    from rollout.queries import preflights

    monkeypatch.setattr(preflights, "look_before", lambda rollout, phase: Preflight([], []))
