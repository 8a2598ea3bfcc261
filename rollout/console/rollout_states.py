"""The state of a rollout in one line: what runs, how far it is, and what waits for people."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor

from django.contrib.auth.models import User
from django.http import HttpRequest

from rollout.console.approvals import overrides_of, requests_of
from rollout.console.badges import PENDING, badge_label
from rollout.console.current_phases import JobView, current_phase
from rollout.console.http.fragments import kept_until_next_entry, newest_entry
from rollout.gates import Evidence
from rollout.gates.mappings import review_counts, review_gate
from rollout.gates.value_decisions import TOO_MANY_ROWS, values_waiting
from rollout.journal import labels
from rollout.models import Direction, PhaseRun, RunState, StepRun, StepState
from rollout.plan.plan import BACKFILL, CONTRACT, ENFORCE
from rollout.queries.pauses import PAUSED
from rollout.queries.progress import progress_of
from rollout.queries.side_work import SideWork, side_work_of
from rollout.queries.status import PhaseSummary, RolloutSummary

# Seconds that a page waits for values that do not convert; without them their number is left out.
OPEN_VALUES_SECONDS = 1


@dataclass(frozen=True)
class RolloutState:
    """``phase`` is the current one; ``job`` the backfill job that its active run is in."""

    status: RolloutSummary
    phase: PhaseSummary
    step: StepRun | None = None
    job: JobView | None = None

    @property
    def run(self) -> PhaseRun | None:
        """The run that is active or stopped short."""
        run = self.status.active or self.status.repair
        if run is not None:
            return run
        return None if self.phase.state in (PENDING, RunState.DONE) else self.phase.run

    @property
    def pause(self) -> dict[str, str] | None:
        """The user or guardrail that paused the run, while it is paused or pausing."""
        run = self.run
        return run.pause if run is not None and run.state in PAUSED else None

    @property
    def is_complete(self) -> bool:
        return self.status.next_phase is None and self.run is None

    @property
    def is_between(self) -> bool:
        """Whether phases are done, the next has not begun and nothing runs."""
        return self.run is None and self.phase.number > 0 and self.phase.state == PENDING

    @property
    def badge(self) -> tuple[str, str]:
        """The kind and the state of its badge."""
        if self.is_complete:
            return "rollout", "complete"
        if self.is_between:
            return "rollout", "between"
        shown = self.run or self.phase
        return shown.direction, shown.state

    @property
    def step_number(self) -> int | None:
        """The number of the step that a phase's run is in, from 1; None for other runs.

        One that waits for a worker is in none: the card says so too.
        """
        if self.step is None or self.step.run.direction != Direction.FORWARD:
            return None
        if self.step.run.state == RunState.QUEUED:
            return None
        ids = [step.id for step in self.status.plan.phases[self.step.run.phase].steps]
        return ids.index(self.step.step) + 1 if self.step.step in ids else None

    @property
    def steps(self) -> int:
        """How many steps the phase has."""
        return len(self.status.plan.phases[self.phase.number].steps)

    @property
    def title(self) -> str:
        """What runs or has stopped and how far it is, for the browser's tab; else empty."""
        if self.run is None:
            return ""
        is_repair = self.run.direction == Direction.REPAIR
        subject = self.run.repair.rows if is_repair else f"phase {self.run.phase}"
        what = f"{badge_label(*self.badge)} · {subject}"
        if self.job is not None:
            what = (
                f"{floor(100 * self.job.progress.fraction)} % {labels.job_label(self.job.job.kind)}"
            )
            if self.run.state == RunState.PAUSED:
                what = f"Paused · {what}"
        return f"{what} · {self.status.rollout.environment}"


def kind_of(summary: RolloutSummary) -> str:
    """``running``, ``stopped``, ``idle`` or ``complete``."""
    state = RolloutState(summary, current_phase(summary))
    if state.run is not None:
        return "running" if state.run.active and state.run.state != RunState.PAUSED else "stopped"
    return "complete" if state.is_complete else "idle"


def states_of(
    summaries: Sequence[RolloutSummary], known: Sequence[JobView] = ()
) -> list[RolloutState]:
    """The states of several rollouts; the steps that are active are read at once.

    ``known`` are jobs whose progress the page has read already.
    """
    jobs = {view.job.pk: view for view in known}
    active = [summary.active.pk for summary in summaries if summary.active is not None]
    steps = {step.run_id: step for step in _running(active)} if active else {}
    return [
        _state(summary, steps.get(summary.active.pk) if summary.active is not None else None, jobs)
        for summary in summaries
    ]


def _running(runs: Iterable[int]) -> Iterable[StepRun]:
    running = StepRun.objects.filter(run__in=runs, state=StepState.RUNNING).order_by("position")
    return running.select_related("run__rollout").prefetch_related("jobs__step_run__run__rollout")


def _state(
    summary: RolloutSummary, step: StepRun | None, known: Mapping[int, JobView]
) -> RolloutState:
    jobs = step.jobs.all() if step is not None else ()
    job = next((job for job in jobs if job.finished_at is None), None)
    view = known.get(job.pk) or JobView(job, progress_of(job)) if job is not None else None
    return RolloutState(summary, current_phase(summary), step, view)


@dataclass(frozen=True)
class Waiting:
    """How much of a rollout waits for people, and what runs beside its phases."""

    askers: list[int | None]
    """IDs of users who requested approval of the next phase, or an override to confirm."""
    mismatches: int
    """Rows that an audit found mismatched and that wait for people (``audit_to_repair``)."""
    side_work: list[SideWork]
    open_values: int
    """Legacy values that nobody has decided on, mapped or without a conversion, as the gates and
    the pages count them."""

    def sign_offs(self, user: User) -> int:
        """How many requests and overrides wait for others than who made them."""
        return sum(asker != user.pk for asker in self.askers)


def waiting_of(
    summary: RolloutSummary,
    request: HttpRequest,
    evidence: Evidence | None = None,
    open_now: Mapping[tuple[str, str], int] | None = None,
) -> Waiting:
    """``evidence`` is that of the next phase, and ``open_now`` are open values by table and legacy
    column, where the page has read them already."""
    askers, mismatches, side_work = (
        _counts(summary, evidence)
        if evidence is not None
        else kept_until_next_entry(
            request,
            *("waiting", summary.rollout.pk),
            make=lambda: _counts(summary, evidence_of(summary)),
        )
    )
    open_values = {**_open_values(summary, request, evidence), **(open_now or {})}
    return Waiting(askers, mismatches, side_work, sum(open_values.values()))


def _counts(
    summary: RolloutSummary, evidence: Evidence
) -> tuple[list[int | None], int, list[SideWork]]:
    """Who waits for others, how many mismatches do, and what runs."""
    requests = requests_of(evidence) if summary.next_phase is not None else []
    overrides = [override.sign_off for override in overrides_of(evidence) if override.waits]
    audit = evidence.facts.audit_to_repair
    mismatches = audit.mismatched - audit.waived if audit else 0
    askers = [sign_off.actor_id for sign_off in (*requests, *overrides)]
    return askers, mismatches, side_work_of(evidence.facts)


def evidence_of(summary: RolloutSummary) -> Evidence:
    """That of the next phase, or of the last one in the end."""
    due = len(summary.phases) - 1 if summary.next_phase is None else summary.next_phase
    return Evidence(summary.rollout, due, plan=summary.plan, runs=summary.runs)


def _open_values(
    summary: RolloutSummary, request: HttpRequest, evidence: Evidence | None
) -> dict[tuple[str, str], int]:
    """By table and legacy column. On a page that shows the gates before phase 3, as they count.

    On others they are kept for a moment: every page of the rollout shows them, and the target is
    asked. A decision is an entry of the log, after which each process counts again.
    """
    if summary.phases[BACKFILL].run is None or summary.phases[CONTRACT].state == RunState.DONE:
        return {}
    if evidence is not None and summary.next_phase == ENFORCE:
        return _counted_open(summary, evidence.facts.newest_mapping_change)
    return kept_until_next_entry(
        request,
        *("open-values", summary.rollout.pk),
        make=lambda: _counted_open(summary, newest_entry(request), seconds=OPEN_VALUES_SECONDS),
    )


def _counted_open(
    summary: RolloutSummary, newest: Hashable, **limits: int
) -> dict[tuple[str, str], int]:
    """As counted since the ``newest`` change, without what cannot be read: its database is away,
    which the page says elsewhere, or has too many rows."""
    rollout, plan = summary.rollout, summary.plan
    open_values = {}
    if plan.lookups:
        counts = review_counts(rollout, plan, review_gate(rollout, plan), newest)
        if isinstance(counts, dict):
            open_values = {(x.table.label, x.legacy): of_x.open for x, of_x in counts.items()}
    if plan.reviewed_conversions:
        waiting = values_waiting(rollout, plan, newest, **limits)
        if isinstance(waiting, tuple) and waiting != TOO_MANY_ROWS:
            # Those of all conversions together, which have no page of their own count.
            values, keys, _ = waiting
            open_values["", ""] = values + keys
    return open_values
