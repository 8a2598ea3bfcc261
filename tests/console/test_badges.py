import re
from typing import get_args

from config.home import ROOT
from rollout.console.badges import BADGES, badge
from rollout.engine.health import Status
from rollout.engine.preflight import Level
from rollout.gates import registry
from rollout.models import (
    AuditStatus,
    DeliveryState,
    Direction,
    RehearsalState,
    RestoreState,
    RuleVerdict,
    RunState,
    SnapshotState,
)

STATES = {
    **dict.fromkeys(Direction.values, RunState.values),
    "audit": AuditStatus.values,
    "snapshot": SnapshotState.values,
    "rehearsal": RehearsalState.values,
    "restore": RestoreState.values,
    "delivery": DeliveryState.values,
    "guardrail": RuleVerdict.values,
    "gate": get_args(registry.Status),
    "item": get_args(registry.Status),
    "preflight": get_args(Level),
    "signal": get_args(Status),
    "comparison": get_args(Status),
}


def test_every_state_has_a_badge_with_a_label_of_its_own() -> None:
    for kind, states in STATES.items():
        labels = [BADGES[kind][state].label for state in states]
        assert len(set(labels)) == len(labels), kind
    for kind in ("gate", "signal"):
        assert len({BADGES[kind][state].icon for state in STATES[kind]}) == 4


def test_a_phase_that_was_rolled_back_is_distinguished_from_one_that_never_began() -> None:
    assert BADGES["forward"]["pending"].label == "Not started"
    assert BADGES["backward"]["pending"].label == "Rolled back"


def test_no_two_tones_share_a_shape() -> None:
    tones: dict[str, set[str]] = {}
    for state in RunState.values:
        look = BADGES["forward"][state]
        tones.setdefault(look.icon, set()).add(look.tone)
    assert all(len(seen) == 1 for seen in tones.values())


def test_every_state_on_a_page_is_drawn_by_the_one_tag() -> None:
    """By hand a page draws only names, which are square, and the number in the navigation."""
    by_hand = [
        f"{path.name}: {match.group()}"
        for path in (ROOT / "templates" / "rollout").rglob("*.html")
        for match in re.finditer(r'class="badge(?! square")[^"]*"', path.read_text())
    ]
    assert by_hand == ['topbar.html: class="badge tone-warn"']


def test_a_badge_is_drawn_with_its_tone_icon_and_label() -> None:
    assert badge("audit", "clean") == (
        '<span class="badge tone-good"><svg class="icon icon-done" viewBox="0 0 16 16" '
        'aria-hidden="true"><use href="#icon-done"></use></svg>Clean</span>'
    )
