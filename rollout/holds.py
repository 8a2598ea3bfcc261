"""Whether a broken rule keeps the next phase from starting."""

from rollout.models import Rollout, RuleState
from rollout.plan.gates import Answer


def answer(rollout: Rollout) -> tuple[Answer, str]:
    """The answer to the gate, with the next thing to do."""
    holding = RuleState.objects.filter(rollout=rollout, action="hold", acting=True).first()
    if holding is None:
        return "pass", "No rule about the application's latency or errors holds the next phase."
    return (
        "fail",
        f"Rule “{holding.rule}” holds the next phase: {holding.message} "
        "See the monitoring page, and release it there once that is settled.",
    )
