"""The status of rollouts and their phases, as pages and the shell show it."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from django.db.models import Prefetch
from django.utils import timezone

from rollout import gates
from rollout.engine.target import TargetAway
from rollout.gates import Evidence, GateStatus
from rollout.gates.preparations import missing_before
from rollout.gates.registry import Action
from rollout.gates.starts import refusal_to_roll_back, refusal_to_start, unfinished_repair
from rollout.journal.environments import configured, made_by_plan, must_know, why_gone
from rollout.journal.heartbeats import Liveness, liveness
from rollout.models import (
    BackfillJob,
    ChainState,
    Direction,
    PhaseRun,
    RollbackChain,
    Rollout,
    StepRun,
)
from rollout.modes import Modes
from rollout.plan import plans
from rollout.plan.actions import StepActions
from rollout.plan.gates import Approved
from rollout.plan.plan import ENFORCE, ROLES, Plan, Step
from rollout.queries.modes import modes_of
from rollout.queries.rehearsals import RehearsedTimes, Report, newest_measured, times_of


@dataclass(frozen=True)
class PhaseStatus:
    """A phase, the state of its newest run, and what may be done with it."""

    number: int
    role: str
    description: str
    estimate: timedelta
    state: str
    direction: str
    run: PhaseRun | None
    duration: timedelta | None
    gates: list[GateStatus]
    destructive: bool
    restrictive: bool
    digest: str
    """Digest of what people approve: the phase's statements in both directions, and its gates."""
    needs_approval: bool
    start_refusal: str
    roll_back_refusal: str
    preparation: list[Action] = field(default_factory=list)
    """What one press can request for its open gates."""

    @property
    def guarded(self) -> bool:
        """Whether people are asked twice before they start it."""
        return self.destructive or self.restrictive

    @property
    def can_start(self) -> bool:
        return not self.start_refusal

    @property
    def may_be_repaired(self) -> bool:
        """Whether its rollback stopped where an audit and a repair can put its rows right."""
        return self.number == ENFORCE and self.direction == Direction.BACKWARD

    @property
    def gates_in_the_way(self) -> list[GateStatus]:
        """What failed comes before what waits for a person or a clock."""
        blocking = (gate for gate in self.gates if not gate.lets_through)
        return sorted(blocking, key=lambda gate: gate.status == "pending")

    @property
    def waiting_gates(self) -> list[GateStatus]:
        return [gate for gate in self.gates_in_the_way if gate.status == "pending"]

    @property
    def failed_gates(self) -> list[GateStatus]:
        """Gates that block the phase by a finding, not because a person or a clock is due."""
        return [gate for gate in self.gates_in_the_way if gate.status != "pending"]

    @property
    def gates_for_people(self) -> list[GateStatus]:
        """Gates that wait for decisions about values, which no press prepares."""
        asking = ("review_mapping", "decide_values")
        return [gate for gate in self.gates_in_the_way if gate.action in asking]

    @property
    def passed_gates(self) -> list[GateStatus]:
        return [gate for gate in self.gates if gate.shown == "pass"]

    @property
    def overridden_gates(self) -> list[GateStatus]:
        return [gate for gate in self.gates if gate.shown == "overridden"]

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
    phase: int | None
    next_phase: int | None
    repair: PhaseRun | None
    chain: RollbackChain | None
    """The rollback of several phases that is running, or stopped with phases left."""
    evidence: Evidence = field(repr=False)
    """What the gates of the phase that is due are answered from; of the last one in the end."""
    liveness: Liveness = field(repr=False)

    @property
    def newest(self) -> PhaseStatus | None:
        """The newest phase begun: the next to roll back."""
        return None if self.phase is None else self.phases[self.phase]

    @cached_property
    def rehearsed(self) -> RehearsedTimes | None:
        """How long each phase took in the newest rehearsal of this plan."""
        return times_of(self.evidence.facts.rehearsals, self.plan)

    @cached_property
    def rehearsal(self) -> Report | None:
        """The newest rehearsal of this plan that finished, passed or not."""
        return newest_measured(self.rollout) if self.evidence.facts.rehearsals else None

    @cached_property
    def modes(self) -> Modes | None:
        """What the application reads and writes; None where its database is away.

        Asked for by those who show it.
        """
        try:
            return modes_of(self.plan.name, self.rollout.environment)
        except TargetAway:
            return None


@dataclass(frozen=True)
class StepStatus:
    """A step in both directions, with its row in the phase's newest run if that has reached it."""

    step: Step
    forward: StepActions
    backward: StepActions
    run: StepRun | None
    jobs: list[BackfillJob] = field(default_factory=list)
    """Jobs of that run, in the order of the step's actions."""


def find_rollout(plan_name: str, environment: str) -> Rollout:
    """The rollout of a plan in an environment. Raises UnknownPlan and UnknownEnvironment."""
    plans.get(plan_name)
    must_know(plan_name, environment)
    rollout, _created = Rollout.objects.select_related("schedule").get_or_create(
        plan=plan_name, environment=environment
    )
    return rollout


def closed_reason(rollout: Rollout) -> str:
    """Why a rollout of the journal is closed: its plan or environment no longer exists.

    Empty if both are there.
    """
    if plans.find(rollout.plan) is None:
        return (
            f"Plan {rollout.plan} is no longer in the project's code. Restore it to continue; its "
            "history is kept."
        )
    return why_gone(rollout.environment)


def all_rollouts() -> list[Rollout]:
    """Every plan in every environment; missing rollouts are created."""
    made, named = made_by_plan(), configured()
    known = {
        (rollout.plan, rollout.environment): rollout
        for rollout in Rollout.objects.select_related("schedule").filter(
            plan__in=[plan.name for plan in plans]
        )
    }
    return [
        known.get((plan.name, name))
        or Rollout.objects.get_or_create(plan=plan.name, environment=name)[0]
        for plan in plans
        for name in (*named, *made.get(plan.name, []))
    ]


@dataclass(frozen=True)
class PhaseSummary:
    """A phase and the state of its newest run."""

    number: int
    role: str
    state: str
    direction: str
    run: PhaseRun | None


@dataclass(frozen=True)
class RolloutSummary:
    """The status of a rollout without its gates, for lists of many."""

    rollout: Rollout
    plan: Plan
    phases: list[PhaseSummary]
    active: PhaseRun | None
    next_phase: int | None
    repair: PhaseRun | None
    chain: RollbackChain | None

    @property
    def runs(self) -> dict[int, PhaseRun]:
        """The newest run of each phase that has one."""
        return {phase.number: phase.run for phase in self.phases if phase.run is not None}


def summary_of(status: RolloutStatus) -> RolloutSummary:
    """The same without the gates."""
    return RolloutSummary(
        rollout=status.rollout,
        plan=status.plan,
        phases=[PhaseSummary(p.number, p.role, p.state, p.direction, p.run) for p in status.phases],
        active=status.active,
        next_phase=status.next_phase,
        repair=status.repair,
        chain=status.chain,
    )


def summaries_of(rollouts: list[Rollout]) -> list[RolloutSummary]:
    """The summaries of several rollouts, from one query."""
    newest = gates.newest_of_each(rollouts)
    return [_summary(rollout, *newest[rollout.pk]) for rollout in rollouts]


def _summary(
    rollout: Rollout, runs: dict[int, PhaseRun], newest_repair: PhaseRun | None
) -> RolloutSummary:
    plan = plans.get(rollout.plan)
    repair = unfinished_repair(runs, newest_repair)
    numbers = range(len(plan.phases))
    return RolloutSummary(
        rollout=rollout,
        plan=plan,
        phases=[
            PhaseSummary(n, ROLES[n], *_state_and_direction(runs.get(n)), runs.get(n))
            for n in numbers
        ],
        active=_active(runs, repair),
        next_phase=_next_phase(plan, runs),
        repair=repair,
        chain=_chain(runs),
    )


def _state_and_direction(run: PhaseRun | None) -> tuple[str, str]:
    """State and direction of a phase by its newest run."""
    state = "pending" if run is None or gates.is_not_started(run) else run.state
    return state, run.direction if run is not None else Direction.FORWARD


def _active(runs: dict[int, PhaseRun], repair: PhaseRun | None) -> PhaseRun | None:
    return next((run for run in (*runs.values(), repair) if run and run.active), None)


def _chain(runs: dict[int, PhaseRun]) -> RollbackChain | None:
    newest = max(runs.values(), key=lambda run: run.pk, default=None)
    chain = newest.chain if newest is not None else None
    if chain is None or not gates.started_after(runs, chain.to_phase):
        return None
    return chain if chain.state in (ChainState.RUNNING, ChainState.STOPPED) else None


def _next_phase(plan: Plan, runs: dict[int, PhaseRun]) -> int | None:
    return next((n for n in range(len(plan.phases)) if not gates.is_done(runs.get(n))), None)


def status_of(rollout: Rollout, *, starter: object = None) -> RolloutStatus:
    """The status of a rollout now; its gates are checked for who would start the next phase."""
    plan = plans.get(rollout.plan)
    runs, newest_repair = gates.newest_runs_and_repair(rollout)
    repair = unfinished_repair(runs, newest_repair)
    active = _active(runs, repair)
    next_phase = _next_phase(plan, runs)
    last = len(plan.phases) - 1
    due = last if next_phase is None else next_phase
    evidence = Evidence(rollout, due, plan=plan, runs=runs, starter=starter)
    statuses = sorted(gates.check_gates(evidence), key=_place) if next_phase is not None else []
    phases = [
        _phase_status(evidence.of_phase(number), active, statuses if number == next_phase else [])
        for number in range(len(plan.phases))
    ]
    return RolloutStatus(
        rollout=rollout,
        plan=plan,
        phases=phases,
        active=active,
        phase=max(gates.started_phases(runs), default=None),
        next_phase=next_phase,
        repair=repair,
        chain=_chain(runs),
        evidence=evidence,
        liveness=liveness(),
    )


def _place(gate: GateStatus) -> int:
    """What blocks comes first, then what somebody has overridden."""
    return 2 if gate.shown == "pass" else int(gate.lets_through)


def _phase_status(
    evidence: Evidence, active: PhaseRun | None, statuses: list[GateStatus]
) -> PhaseStatus:
    plan, number, run = evidence.plan, evidence.number, evidence.run
    phase = plan.phases[number]
    state, direction = _state_and_direction(run)
    return PhaseStatus(
        number=number,
        role=ROLES[number],
        description=phase.description,
        estimate=phase.estimate,
        state=state,
        direction=direction,
        run=run,
        duration=duration_of(run),
        gates=statuses,
        destructive=plan.is_destructive(number),
        restrictive=plan.is_restrictive(number),
        digest=plan.digest_of(number),
        needs_approval=any(isinstance(gate, Approved) for gate in evidence.gates),
        start_refusal=refusal_to_start(evidence, active, statuses or gates.check_gates(evidence)),
        roll_back_refusal=refusal_to_roll_back(evidence, active),
        preparation=missing_before(statuses, evidence) if statuses and active is None else [],
    )


def duration_of(run: PhaseRun | None) -> timedelta | None:
    """How long a run has worked, until now or its end, without pauses."""
    if run is None or run.started_at is None:
        return None
    return run.time_at_work(run.started_at, run.finished_at or timezone.now())


def steps_of(status: RolloutStatus, number: int) -> list[StepStatus]:
    """The steps of a phase, in the order of the plan.

    Of a run that no worker had begun with when the status was read, none: it may have by now.
    """
    run = status.phases[number].run
    begun = run is not None and run.started_at is not None
    rows = {row.step: (row, jobs) for row, jobs in steps_with_jobs(run)} if run and begun else {}
    return [
        StepStatus(
            step,
            status.plan.forward(step),
            status.plan.backward(step),
            *rows.get(step.id, (None, [])),
        )
        for step in status.plan.phases[number].steps
    ]


def steps_with_jobs(run: PhaseRun) -> list[tuple[StepRun, list[BackfillJob]]]:
    """What a run has reached of its steps, and their jobs in the order of their actions."""
    jobs = Prefetch("jobs", BackfillJob.objects.order_by("position"))
    return [(step, list(step.jobs.all())) for step in run.steps.prefetch_related(jobs)]
