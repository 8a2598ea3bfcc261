"""Where a rollout stands, as pages and the shell show it, in a number of queries that is fixed."""

from dataclasses import dataclass, field
from datetime import timedelta

from django.utils import timezone

from rollout import gates
from rollout.environments import alias_of, environments
from rollout.gates import GateStatus
from rollout.heartbeats import Liveness, liveness
from rollout.models import PhaseRun, Rollout, StepRun, Way
from rollout.modes import Modes, modes_now
from rollout.plan import plans
from rollout.plan.actions import Direction
from rollout.plan.plan import ROLES, Plan
from rollout.plan.step import Step
from rollout.runner.verbs import unfinished_repair, why_not_roll_back, why_not_start


@dataclass(frozen=True)
class PhaseStatus:
    """A phase: what it is, how its newest run stands, and what may be done with it."""

    number: int
    role: str
    description: str
    estimate: timedelta
    state: str
    way: str
    run: PhaseRun | None
    duration: timedelta | None
    gates: list[GateStatus]
    start_refusal: str
    roll_back_refusal: str

    @property
    def can_start(self) -> bool:
        return not self.start_refusal

    @property
    def can_roll_back(self) -> bool:
        return not self.roll_back_refusal


@dataclass(frozen=True)
class RolloutStatus:
    """A rollout with its phases. ``phase`` is the newest one begun, ``next_phase`` the one due.

    ``active`` is a run of a phase or a repair; ``repair`` one that is active or stopped short.
    """

    rollout: Rollout
    plan: Plan
    phases: list[PhaseStatus]
    active: PhaseRun | None
    modes: Modes
    phase: int | None
    next_phase: int | None
    repair: PhaseRun | None
    liveness: Liveness = field(repr=False)


@dataclass(frozen=True)
class StepStatus:
    """A step, both ways, with its row in the phase's newest run where that has reached it."""

    step: Step
    forward: Direction
    backward: Direction
    run: StepRun | None


def find_rollout(plan_name: str, environment: str) -> Rollout:
    """The rollout of a plan in an environment. Raises UnknownPlan and UnknownEnvironment."""
    plans.get(plan_name)
    alias_of(environment)
    rollout, _created = Rollout.objects.get_or_create(plan=plan_name, environment=environment)
    return rollout


def all_rollouts() -> list[Rollout]:
    """Every plan in every environment."""
    return [find_rollout(plan.name, name) for plan in plans for name in environments()]


def status_of(rollout: Rollout) -> RolloutStatus:
    """Where a rollout stands now."""
    plan = plans.get(rollout.plan)
    runs = gates.newest_runs(rollout)
    repair = unfinished_repair(rollout, runs)
    active = next((run for run in (*runs.values(), repair) if run and run.active), None)
    begun = [number for number, run in runs.items() if not gates.is_untouched(run)]
    done = [number for number, run in runs.items() if gates.is_done(run)]
    next_phase = next((n for n in range(len(plan.phases)) if n not in done), None)
    phases = [
        _phase_status(plan, rollout, number, runs, active, next_phase)
        for number in range(len(plan.phases))
    ]
    return RolloutStatus(
        rollout=rollout,
        plan=plan,
        phases=phases,
        active=active,
        modes=modes_now(plan.name, using=alias_of(rollout.environment)),
        phase=max(begun, default=None),
        next_phase=next_phase,
        repair=repair,
        liveness=liveness(),
    )


def _phase_status(
    plan: Plan,
    rollout: Rollout,
    number: int,
    runs: dict[int, PhaseRun],
    active: PhaseRun | None,
    next_phase: int | None,
) -> PhaseStatus:
    phase = plan.phases[number]
    run = runs.get(number)
    untouched = gates.is_untouched(run)
    is_next = number == next_phase
    return PhaseStatus(
        number=number,
        role=ROLES[number],
        description=phase.description,
        estimate=phase.estimate,
        state="pending" if untouched or run is None else run.state,
        way=run.way if run is not None else Way.FORWARD,
        run=run,
        duration=duration_of(run),
        gates=[
            gates.answer(gate, number=number, rollout=rollout, plan=plan, runs=runs)
            for gate in (plan.gates_of(number) if is_next else ())
        ],
        start_refusal=why_not_start(plan, rollout, number, runs, active),
        roll_back_refusal=why_not_roll_back(plan, number, runs, active),
    )


def duration_of(run: PhaseRun | None) -> timedelta | None:
    """How long a run has taken, until now or until its end."""
    if run is None or run.started_at is None:
        return None
    return (run.finished_at or timezone.now()) - run.started_at


def steps_of(status: RolloutStatus, number: int) -> list[StepStatus]:
    """The steps of a phase, in the order of the plan."""
    run = status.phases[number].run
    rows = {row.step: row for row in run.steps.prefetch_related("jobs")} if run else {}
    return [
        StepStatus(
            step=step,
            forward=status.plan.forward(step),
            backward=status.plan.backward(step),
            run=rows.get(step.id),
        )
        for step in status.plan.phases[number].steps
    ]
