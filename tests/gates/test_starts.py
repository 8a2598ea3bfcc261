"""Whether a phase may start, by its gates."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from rollout.gates import Evidence, GateStatus
from rollout.gates.registry import Status
from rollout.gates.starts import refusal_to_start
from rollout.models import Rollout, SignOff
from rollout.plan import plans
from tests.support import rollouts

STATUSES = get_args(Status)


def gate_status(status: Status, overridden: bool = False) -> GateStatus:
    override = SignOff(actor_name="grace") if overridden else None
    return GateStatus("soak", status, f"It is {status}.", override=override)


@given(st.lists(st.tuples(st.sampled_from(STATUSES), st.booleans())))
def test_only_gates_that_pass_or_are_overridden_let_a_phase_start(
    gates: list[tuple[Status, bool]],
) -> None:
    rollout = Rollout(plan=rollouts.PLAN, environment="production")
    evidence = Evidence(rollout, 0, plan=plans.get(rollouts.PLAN), runs={})
    evidence.facts.refusal_beside_restore = ""
    answers = [gate_status(status, overridden) for status, overridden in gates]
    blocking = [status for status, overridden in gates if status != "pass" and not overridden]
    expected = f"Gate “Soak”: It is {blocking[0]}." if blocking else ""
    assert refusal_to_start(evidence, None, answers) == expected
