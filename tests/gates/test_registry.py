"""What a gate answers, as data."""

from rollout.gates import GateStatus, as_data
from rollout.gates.registry import passed, pending


def test_data_of_a_gate_has_its_action_only_where_it_does_not_pass() -> None:
    for result, action in ((passed("Done."), None), (pending("rehearse", "Not yet."), "rehearse")):
        data = as_data(GateStatus("soak", result.status, result.message, result.action))
        assert data.get("action") == action
