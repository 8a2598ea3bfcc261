from typing import get_args

from rollout.console import badges
from rollout.engine.health import Status
from rollout.gates import registry
from rollout.models import AuditStatus, RunState, StepState, Way


def test_every_state_has_a_look_of_its_own() -> None:
    for way in Way.values:
        phases = [badges.of_phase(state, way) for state in RunState.values]
        assert len({look.label for look in phases}) == len(phases)
        assert len({badges.of_step(state, way) for state in StepState.values}) == 3
    assert len({badges.of_audit(status) for status in AuditStatus.values}) == 4
    signals = [badges.of_signal(status) for status in get_args(Status)]
    assert len({look.icon for look in signals}) == len({look.label for look in signals}) == 4
    assert len({badges.of_gate(status).icon for status in get_args(registry.Status)}) == 4


def test_a_phase_that_was_rolled_back_is_told_from_one_that_never_began() -> None:
    assert badges.of_phase(badges.PENDING, Way.FORWARD).label == "Not started"
    assert badges.of_phase(badges.PENDING, Way.BACKWARD).label == "Rolled back"


def test_no_two_tones_share_a_shape() -> None:
    seen: dict[str, set[str]] = {}
    for state in RunState.values:
        look = badges.of_phase(state, Way.FORWARD)
        seen.setdefault(look.icon, set()).add(look.tone)
    assert all(len(tones) == 1 for tones in seen.values())
