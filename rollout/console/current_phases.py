"""The phase that a page is about, and what runs in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, Protocol, TypeVar

from django.urls import reverse

from rollout.console.badges import PENDING
from rollout.console.formats import duration
from rollout.gates import checklists, value_decisions
from rollout.gates.checklists import ItemStatus
from rollout.gates.registry import Action
from rollout.journal.audits import asks_people, clean_since
from rollout.journal.environments import DEFAULT
from rollout.journal.events import Event
from rollout.journal.labels import gate_label
from rollout.models import (
    WORKING,
    AuditReport,
    AuditStatus,
    BackfillJob,
    ChainState,
    Direction,
    LogEntry,
    MappingChange,
    PhaseRun,
    Rehearsal,
    RunState,
    SnapshotState,
    StepRun,
    StepState,
)
from rollout.plan.gates import MappingReviewed
from rollout.plan.plan import BACKFILL, CONTRACT, EXPAND, Step
from rollout.queries.activity import retries_of
from rollout.queries.inboxes import cure_of, decisions_url
from rollout.queries.pauses import Pause, pause_of
from rollout.queries.progress import JobProgress, progress_of
from rollout.queries.status import (
    PhaseStatus,
    PhaseSummary,
    RolloutStatus,
    RolloutSummary,
    StepStatus,
    duration_of,
    steps_with_jobs,
)
from rollout.worker.estimates import passes_of

_STOPPED = (RunState.FAILED, RunState.CANCELLED)
# Factor from which on a duration that differs from the rehearsed one needs a word.
FAR = 3


@dataclass(frozen=True)
class JobView:
    """A backfill job and how far it is."""

    job: BackfillJob
    progress: JobProgress


Phase = TypeVar("Phase", PhaseStatus, PhaseSummary)


class HasPhases(Protocol[Phase]):
    """Where a rollout stands, with or without what its gates say."""

    @property
    def phases(self) -> list[Phase]: ...
    @property
    def active(self) -> PhaseRun | None: ...
    @property
    def next_phase(self) -> int | None: ...


def current_phase(status: HasPhases[Phase]) -> Phase:
    """The phase that is active, else the one that stopped short, else the next, else the last."""
    if status.active is not None:
        return status.phases[status.active.phase]
    newest = max(
        (phase for phase in status.phases if phase.run is not None),
        key=lambda phase: phase.run.pk if phase.run else 0,
        default=None,
    )
    if newest is not None and newest.state in _STOPPED:
        return newest
    return status.phases[-1 if status.next_phase is None else status.next_phase]


@dataclass(frozen=True)
class CurrentStep:
    """The step that a run is in, or stopped in, and its place in the plan."""

    number: int
    step: Step
    run: StepRun


def current_step(steps: list[StepStatus]) -> CurrentStep | None:
    """The step that has begun and is not done; None between two steps."""
    for number, status in enumerate(steps, start=1):
        if status.run is not None and status.run.state != StepState.DONE:
            return CurrentStep(number, status.step, status.run)
    return None


def is_at_work(status: RolloutStatus | RolloutSummary) -> bool:
    """Whether a worker has something to do, so that a page is worth asking for again."""
    if status.active is not None:
        return status.active.state in WORKING
    return status.chain is not None and status.chain.state == ChainState.RUNNING


@dataclass(frozen=True)
class RepairView:
    """A repair that is active or stopped short, how far it is and what it waits for."""

    run: PhaseRun
    step: StepRun | None
    jobs: list[JobView]
    duration: timedelta | None
    pause: Pause | None


def repair_of(status: RolloutStatus) -> RepairView | None:
    """The repair that a page shows before the phase that it stands beside."""
    run = status.repair
    if run is None or (status.active is not None and status.active.pk != run.pk):
        return None
    steps = steps_with_jobs(run)
    jobs = [JobView(job, progress_of(job)) for _step, own in steps for job in own]
    step = steps[0][0] if steps else None
    pause = pause_of(run, status.evidence.facts)
    return RepairView(run=run, step=step, jobs=jobs, duration=duration_of(run), pause=pause)


def checklist_of(status: RolloutStatus) -> list[ItemStatus]:
    """The checklist, for as long as it can keep a phase from starting."""
    begun = status.next_phase is None or status.next_phase > EXPAND
    if begun or status.rollout.environment != DEFAULT:
        return []
    return checklists.checklist_of(status.evidence)


def rehearsal_action(status: RolloutStatus) -> Action:
    """The next thing to do for a rehearsal: it starts from a snapshot as new as the mapping."""
    facts = status.evidence.facts
    if any(rehearsal.under_way for rehearsal in facts.rehearsals):
        return "wait"
    reviewed_at = facts.review.at if facts.review else None
    for snapshot in facts.snapshots:
        if snapshot.under_way:
            return "wait"
        if snapshot.state == SnapshotState.VERIFIED and snapshot.taken_at:
            is_new = reviewed_at is None or snapshot.taken_at > reviewed_at
            # After a rollback an older one holds what the next phases are still to do.
            is_new &= status.next_phase is None or snapshot.next_phase <= status.next_phase
            return "rehearse" if is_new else "take_snapshot"
    return "take_snapshot"


def is_review_first(status: RolloutStatus) -> bool:
    """Whether a review that a gate will ask for comes before a rehearsal, which it may outdate."""
    if not any(isinstance(gate, MappingReviewed) for p in status.plan.phases for gate in p.gates):
        return False
    reviewed = status.evidence.facts.reviewed_columns
    return any((x.table.label, x.legacy) not in reviewed for x in status.plan.lookups)


def gates_ahead(status: RolloutStatus) -> list[str]:
    """The labels of the gates before the phase after the one that is due."""
    if status.next_phase is None or status.next_phase + 1 == len(status.phases):
        return []
    ahead = status.evidence.of_phase(status.next_phase + 1).gates
    return [gate_label(gate.name) for gate in ahead]


def expected(status: RolloutStatus, phase: PhaseStatus, jobs: Iterable[JobView] = ()) -> str:
    """How long a phase takes as it was rehearsed, else forward by its plan's estimate.

    Of a rollback that runs, how long that takes; empty where it was not rehearsed. ``jobs`` are
    those of the phase while it works: a rehearsal knows no row limit.
    """
    is_back = phase.direction == Direction.BACKWARD and phase.state != PENDING
    times = getattr(status, "rehearsed", None)
    direction = Direction.BACKWARD if is_back else Direction.FORWARD
    seconds = times.of(phase.number, direction) if times is not None else None
    if times is not None and seconds is not None:
        limited = any(_was_limited(job) for job in _jobs_of(status, phase, jobs))
        without = " without the row limit" if limited else ""
        return f"{duration(seconds)} in rehearsal {times.rehearsal.pk}{without}"
    return "" if is_back else f"estimated {duration(phase.estimate)}"


def _jobs_of(
    status: RolloutStatus, phase: PhaseStatus, jobs: Iterable[JobView]
) -> list[BackfillJob]:
    """The jobs of a phase; once it is done they are read, where its plan has passes over tables."""
    working = [view.job for view in jobs]
    if working or phase.run is None or phase.run.finished_at is None:
        return working
    if not passes_of(status.plan, phase.number):
        return []
    of_run = BackfillJob.objects.filter(step_run__run=phase.run)
    return list(of_run.select_related("step_run__run__rollout"))


def _was_limited(job: BackfillJob) -> bool:
    """Whether a job has a row limit, or had one for a part of its time."""
    if job.rows_per_second or job.paced_at is None:
        return bool(job.rows_per_second)
    rollout = job.step_run.run.rollout
    return LogEntry.objects.filter(
        plan=rollout.plan,
        environment=rollout.environment,
        event=Event.PACE_CHANGED,
        at__gte=job.created_at,
        data__job=job.pk,
        data__was_limited=True,
    ).exists()


def is_far_from_rehearsal(status: RolloutStatus, phase: PhaseStatus) -> bool:
    """Whether a phase that is done took several times as long as rehearsed, or a fraction."""
    times = status.rehearsed
    seconds = times.of(phase.number, phase.direction) if times is not None else None
    if not seconds or phase.state != RunState.DONE or phase.duration is None:
        return False
    took = phase.duration.total_seconds()
    return took > FAR * seconds or FAR * took < seconds


def is_any_far_from_rehearsal(status: RolloutStatus) -> bool:
    return any(is_far_from_rehearsal(status, phase) for phase in status.phases)


class WayBack(NamedTuple):
    """How many seconds the rollback of a phase took in rehearsal, and with all phases before it.

    ``total_seconds`` is None where that is no more, or was not rehearsed.
    """

    rehearsal: Rehearsal
    seconds: float
    total_seconds: float | None


def way_back_of(status: RolloutStatus, phase: int) -> WayBack | None:
    """None where the rollback was not rehearsed."""
    times = status.rehearsed
    seconds = times.of(phase, Direction.BACKWARD) if times is not None else None
    if times is None or seconds is None:
        return None
    return WayBack(times.rehearsal, seconds, times.rollback_total(phase))


def stale_types_of(status: RolloutStatus) -> list[ItemStatus]:
    """The files of clients' interfaces that do not fit the schema, once no checklist tells it."""
    if checklist_of(status):
        return []
    return [item for item in checklists.types_of(status.evidence) if item.status != "pass"]


def due_types_of(status: RolloutStatus) -> list[ItemStatus]:
    """Those that somebody has to update now: what an earlier phase made holds until phase 4."""
    is_due = status.next_phase is None or status.next_phase >= CONTRACT
    return [item for item in stale_types_of(status) if is_due or item.status != "pending"]


def card_template(phase: PhaseStatus) -> str:
    """The template that says where a phase stands: there is one for each state."""
    return f"rollout/run/{phase.state}.html"


def report_of(status: RolloutStatus, phase: PhaseStatus) -> AuditReport | None:
    """The newest audit that was made as a step of a phase's newest run."""
    run = phase.run
    if run is None:
        return None
    return next((a for a in status.evidence.facts.audits if a.run_id == run.pk), None)


def retry_of(phase: PhaseStatus) -> LogEntry | None:
    """The last retry of a phase's newest run, which is its starter's no more."""
    return retries_of([phase.run]).get(phase.run.pk) if phase.run else None


def undecided_before(status: RolloutStatus, phase: PhaseStatus) -> str:
    """What phase 2 will fail for at its audit if it starts now; empty if that is not known."""
    if phase.number != BACKFILL or not phase.can_start or not status.plan.reviewed_conversions:
        return ""
    return value_decisions.undecided(status.evidence) or ""


@dataclass(frozen=True)
class NextStep:
    """What to do about a phase that failed, and the page of it, if it is not this one.

    ``label`` is that page's link; ``is_first`` says that nothing else helps before; ``is_repair``
    that it takes somebody who may repair rows; ``to_update`` is the review whose rows have to
    follow first.
    """

    text: str
    url: str = ""
    label: str = "Decide about values"
    is_first: bool = False
    is_repair: bool = False
    to_update: MappingChange | None = None


def next_step_of(
    status: RolloutStatus, phase: PhaseStatus, report: AuditReport | None
) -> NextStep | None:
    """What has changed since an audit failed a phase, or has to; None if the run's advice holds."""
    if not report or report.status != AuditStatus.MISMATCHED:
        return None
    facts = status.evidence.facts
    clean = clean_since(report)
    if clean is not None and clean == facts.full_audit:
        return NextStep(
            f"Audit {clean.pk}, after audit {report.pk}, is clean: the problem is solved. "
            f"Retry phase {phase.number}."
        )
    retry = f"retry phase {phase.number}"
    if not asks_people(report):
        return _repair_of(status, report, retry) if phase.direction == Direction.FORWARD else None
    url = decisions_url(status.rollout)
    if facts.is_reviewed_since(report):
        return _after_decisions(status, report, url, retry)
    return NextStep(f"Decide about the values of these rows, then {retry}.", url, is_first=True)


def _repair_of(status: RolloutStatus, report: AuditReport, retry: str) -> NextStep | None:
    """The repair of the rows that an audit found, or that of them which is under way."""
    repair = status.active
    if repair is not None and repair.direction == Direction.REPAIR:
        return _once_done(repair, retry)
    if report != status.evidence.facts.audit_to_repair:
        return None
    url = reverse("rollout:repair", args=[report.pk])
    text = f"{cure_of(report)}, then {retry}."
    return NextStep(text, url, "Repair rows…", is_first=True, is_repair=True)


def _once_done(repair: PhaseRun, retry: str) -> NextStep:
    text = f"Repair {repair.pk} updates rows. Once it is done, {retry}."
    return NextStep(text, repair.get_absolute_url(), f"View repair {repair.pk}")


def _after_decisions(
    status: RolloutStatus, report: AuditReport, url: str, retry: str
) -> NextStep | None:
    """What people who have decided about values since an audit have left to do."""
    change = status.evidence.facts.rows_to_update(report)
    repair = status.active
    if change is not None and repair is not None and repair.direction == Direction.REPAIR:
        return _once_done(repair, retry)
    is_of_mappings = report.categories.get("undecided", 0) < report.mismatched
    what = None if is_of_mappings else value_decisions.undecided(status.evidence)
    if what:
        return NextStep(f"{what}. Decide about each, then {retry}.", url, is_first=True)
    since = f"People have decided about values since audit {report.pk}"
    if what is None:
        text = (
            f"{since}. Check that none is left undecided and that rows are updated, then {retry}."
        )
        return NextStep(text, url, to_update=change)
    if change is None:
        return NextStep(f"{since}: none is left undecided, and no row to update. R{retry[1:]}.")
    text = f"{since}: none is left undecided. {change.to_update}, then {retry}."
    return NextStep(text, to_update=change)


def jobs_of(steps: Iterable[StepStatus]) -> list[JobView]:
    """The backfill jobs of a run, in the order of its steps; their number is the plan's."""
    return [JobView(job, progress_of(job)) for step in steps for job in step.jobs]
