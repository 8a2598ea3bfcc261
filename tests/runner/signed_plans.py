"""A plan whose phase 1 asks for what people sign, which a test may change."""

from dataclasses import replace

from django.utils import timezone

from rollout import runner
from rollout.models import Direction, PhaseRun, Rollout, RunState
from rollout.plan import Approved, Plan, ProbeFlow, plans
from rollout.plan.gates import Gate
from tests.support.rollouts import ADA, TINY

LEADS = ("ada", "grace", "mary")
PHASE = 1


class Destructive(ProbeFlow):
    """Takes nothing away, but says that it does."""

    destructive = True


def plan_with(*own: Gate, description: str = "", destructive: bool = False) -> Plan:
    """The tiny plan with gates before phase 1, which has a destructive step or not."""
    step = Destructive if destructive else ProbeFlow
    phase = replace(
        TINY.phases[PHASE],
        gates=own,
        steps=(step(id=f"x{description}", description="Try", flow="tests.support.rollouts.flow"),),
    )
    phases = tuple(phase if n == PHASE else other for n, other in enumerate(TINY.phases))
    return replace(TINY, name="signed", phases=phases, guardrails=())  # type: ignore[arg-type]


class Known:
    """The plan under test, which a test may change under the rollout's feet."""

    def __init__(self) -> None:
        self.use(plan_with(Approved()))

    def use(self, plan: Plan) -> None:
        self.forget()
        self.plan = plan
        plans._plans.append(plan)

    def forget(self) -> None:
        plans._plans[:] = [plan for plan in plans if plan.name != "signed"]


def digest(known: Known) -> str:
    return known.plan.digest_of(PHASE)


def end(rollout: Rollout, direction: Direction = Direction.FORWARD) -> None:
    PhaseRun.objects.filter(rollout=rollout, phase=PHASE, direction=direction).exclude(
        state=RunState.DONE
    ).update(state=RunState.DONE, finished_at=timezone.now())


def roll_back(rollout: Rollout) -> None:
    runner.roll_back(rollout, PHASE, actor=ADA)
    end(rollout, Direction.BACKWARD)
