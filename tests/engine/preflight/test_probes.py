"""The list of probes: each about a phase, and those about all phases asked once."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from rollout.engine.preflight import Item, probes
from rollout.engine.preflight.item import Scope, oids_of
from rollout.engine.preflight.probes import PROBES, Lifetime, Probe
from rollout.engine.target import Connection, Target
from rollout.plan.expected_catalogs import labels
from tests.engine.preflight.runs import PLAN, run


def test_every_probe_is_about_a_phase_and_has_a_name_of_its_own() -> None:
    assert all(probe.phases for probe in PROBES)
    assert len({probe.name for probe in PROBES}) == len(PROBES)


OF_ALL_PHASES = [probe for probe in PROBES if probe.lifetime is Lifetime.STAYS_FOR_ALL]


def test_a_question_of_all_phases_is_asked_once(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()

    def counting(probe: Probe) -> Probe:
        def ask(connection: Connection, scope: Scope) -> Item:
            asked[probe.name] += 1
            return probe.ask(connection, scope)

        return replace(probe, ask=ask)

    monkeypatch.setattr(probes, "PROBES", tuple(counting(probe) for probe in PROBES))
    run(target, 0)
    assert [asked[probe.name] for probe in OF_ALL_PHASES] == [1] * len(OF_ALL_PHASES)


class WithoutPhase(Scope):
    """A scope that does not say which phase it is about."""

    def __getattribute__(self, name: str) -> Any:
        assert name not in ("phase", "steps_done", "statements", "passes", "strong_locks")
        return super().__getattribute__(name)


@pytest.mark.parametrize("probe", OF_ALL_PHASES, ids=lambda probe: probe.name)
def test_the_answer_of_a_question_of_all_phases_depends_on_none(
    probe: Probe, connection: Connection
) -> None:
    scope = WithoutPhase(PLAN, 1, oids_of(connection, labels(PLAN)))
    assert probe.ask(connection, scope).level == "pass"
