"""What the journal knows of a rollout: each fact is read when a gate asks for it, and only once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import F, Func, IntegerField, Q

from rollout.gates.row_updates import reviews_to_follow
from rollout.journal import watched_times
from rollout.journal.audits import to_repair
from rollout.journal.heartbeats import SILENCE
from rollout.journal.moments import by_the_database, in_words
from rollout.journal.rollouts import refusal_beside_restore
from rollout.journal.snapshots import listed
from rollout.logs.texts import counted, visible
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    BackfillJob,
    Direction,
    FlowProbe,
    MappingChange,
    PhaseRun,
    Rehearsal,
    Repair,
    Rollout,
    RuleState,
    RuleVerdict,
    RunState,
    SignOff,
    SignOffKind,
    Snapshot,
    StepRun,
    WatchedTime,
)
from rollout.plan.plan import BACKFILL, Plan

# Characters of a legacy value that a message quotes.
MAX_QUOTED = 60
MAX_AUDITS = 5
MAX_REHEARSALS = 5
# The verified one is looked for among these.
MAX_SNAPSHOTS = 50


@dataclass(frozen=True)
class Change:
    """Something that was done, and when."""

    what: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.what} ({in_words(self.at)})"


class Facts:
    """The facts that gates ask for; they are the same before every phase of the rollout."""

    def __init__(self, rollout: Rollout, plan: Plan, runs: dict[int, PhaseRun]) -> None:
        """``runs`` are the newest run of each phase."""
        self.rollout = rollout
        self.plan = plan
        self.runs = runs

    @cached_property
    def now(self) -> datetime:
        """By the database's clock, the same for all machines."""
        return by_the_database()

    @cached_property
    def _watched(self) -> list[WatchedTime]:
        return list(WatchedTime.objects.all()[: watched_times.NEWEST])

    def watched_since(self, moment: datetime) -> timedelta:
        """How long watchdogs have seen time pass since a moment: not what a clock jumped over."""
        return watched_times.total_since(moment, self._watched)

    def watched_for(self, time: timedelta, *, since: datetime) -> datetime:
        """When a watchdog will have watched so much time since a moment, if one runs until then."""
        newest = max([since, *(watched.ended_at for watched in self._watched[:1])])
        # Between two beats the newest stands still, and so does what is reported.
        runs = self.now - newest < SILENCE
        return (newest if runs else self.now) + time - self.watched_since(since)

    @cached_property
    def write_path_steps(self) -> list[StepRun]:
        """The newest run of each step that changes what the application's writes do.

        Of either direction, the newest first; each with its run's phase and direction.
        """
        steps = [
            step.id for phase in self.plan.phases for step in phase.steps if step.changes_write_path
        ]
        newest = (
            StepRun.objects.filter(
                run__rollout=self.rollout, step__in=steps, started_at__isnull=False
            )
            .annotate(phase=F("run__phase"), direction=F("run__direction"))
            .order_by("step", "-started_at")
            .distinct("step")
        )
        return sorted(newest, key=lambda row: row.started_at or self.now, reverse=True)

    @cached_property
    def write_path(self) -> Change | None:
        """The newest step, in either direction, that changed what the application's writes do."""
        newest = next(iter(self.write_path_steps), None)
        if newest is None or newest.started_at is None:
            return None
        steps = {step.id: step for phase in self.plan.phases for step in phase.steps}
        undo = "Undo: " if getattr(newest, "direction", "") == Direction.BACKWARD else ""
        what = f"“{undo}{steps[newest.step].description}”"
        return Change(what, newest.finished_at or newest.started_at)

    @cached_property
    def review(self) -> Change | None:
        """The newest mapping review that changed the mapping of some row."""
        review = (
            self.rollout.mapping_changes.exclude(rows_changed=0)
            # A review can change thousands of values. The first is that of the most rows.
            .annotate(
                texts=Func(F("changes"), function="jsonb_array_length", output_field=IntegerField())
            )
            .values("reviewer", "table", "legacy_column", "at", "texts", first=F("changes__0"))
            .first()
        )
        return None if review is None else Change(_summary(review), review["at"])

    @cached_property
    def reviewed_columns(self) -> set[tuple[str, str]]:
        """Label of the table and legacy column of each lookup that people have decided on."""
        columns = self.rollout.mapping_changes.order_by().values_list("table", "legacy_column")
        return set(columns.distinct())

    @cached_property
    def newest_mapping_change(self) -> tuple[int, datetime] | None:
        """The number and the moment of the newest mapping review, whatever it decided."""
        return self.rollout.mapping_changes.values_list("pk", "at").first()

    @cached_property
    def repair(self) -> Change | None:
        """The newest repair of rows that ended."""
        repair = (
            Repair.objects.filter(
                run__rollout=self.rollout, run__steps__isnull=False, run__finished_at__isnull=False
            )
            .select_related("run")
            .order_by("-run__finished_at")
            .first()
        )
        if repair is None or repair.run.finished_at is None:
            return None
        return Change(f"the repair of {repair.tables}", repair.run.finished_at)

    @cached_property
    def rules(self) -> list[RuleState]:
        """The latest evaluation of the guardrails."""
        return list(self.rollout.rules.all())

    @property
    def blocking_rule(self) -> RuleState | None:
        """A guardrail that blocks the next phase."""
        return next((rule for rule in self.rules if rule.action == "hold" and rule.acting), None)

    @property
    def broken(self) -> Change | None:
        """The newest breach of a guardrail that pauses or blocks.

        A guardrail that only warns or slows backfills down heals itself: the soak continues.
        """
        breaches = [
            Change(rule.rule, rule.last_broken_at)
            for rule in self.rules
            if rule.last_broken_at and rule.action in ("pause", "hold")
        ]
        return max(breaches, key=lambda breach: breach.at, default=None)

    def broken_now(self, now: datetime) -> str:
        """A guardrail that pauses or blocks and is breached now; empty if none is."""
        broken = (
            rule.rule
            for rule in self.rules
            if rule.action in ("pause", "hold")
            and rule.verdict == RuleVerdict.BROKEN
            and rule.is_current(now)
        )
        return next(broken, "")

    @cached_property
    def jobs(self) -> list[BackfillJob]:
        """The finished jobs of the newest backfill."""
        if BACKFILL not in self.runs:
            return []
        return list(
            BackfillJob.objects.filter(
                step_run__run=self.runs[BACKFILL],
                kind__in=("fill", "compute"),
                finished_at__isnull=False,
            ).order_by("pk")
        )

    @cached_property
    def probes(self) -> dict[str, FlowProbe]:
        """The newest probe of each flow."""
        probes = self.rollout.probes.order_by("flow", "-id").distinct("flow")
        return {probe.flow: probe for probe in probes}

    @cached_property
    def sign_offs(self) -> list[SignOff]:
        """Sign-offs, newest first; withdrawn ones only if approval or override."""
        return list(
            self.rollout.sign_offs.filter(
                Q(withdrawn_at=None) | Q(kind__in=(SignOffKind.OVERRIDE, SignOffKind.APPROVAL))
            )
        )

    @cached_property
    def snapshots(self) -> list[Snapshot]:
        """The newest snapshots, without the evidence that only their pages show."""
        return list(listed(self.rollout)[:MAX_SNAPSHOTS])

    @cached_property
    def refusal_beside_restore(self) -> str:
        """Why no phase can run while a snapshot is being restored there; empty if none is."""
        return refusal_beside_restore(self.rollout)

    @cached_property
    def rehearsals(self) -> list[Rehearsal]:
        """The newest rehearsals, without the catalog that only their end reads."""
        return list(self.rollout.rehearsals.defer("before")[:MAX_REHEARSALS])

    @cached_property
    def rehearsed_runs(self) -> int:
        """How many runs of the newest rehearsal are complete."""
        newest = self.rehearsals[0]
        runs = PhaseRun.objects.filter(rollout=newest.sandbox_id, phase__gte=newest.first_phase)
        return runs.filter(state=RunState.DONE).count()

    @cached_property
    def filled_elsewhere(self) -> list[PhaseRun]:
        """The newest finished backfill of each other environment, the newest first."""
        runs = (
            PhaseRun.objects.filter(
                rollout__plan=self.plan.name,
                direction=Direction.FORWARD,
                state=RunState.DONE,
                phase=BACKFILL,
                # What a snapshot brought along was not run there.
                finished_at__gt=F("started_at"),
            )
            .exclude(rollout=self.rollout)
            .select_related("rollout")
            .order_by("rollout__environment", "-id")
            .distinct("rollout__environment")
        )
        return sorted(runs, key=lambda run: run.finished_at or run.created_at, reverse=True)

    @cached_property
    def _newest_audits(self) -> list[AuditReport]:
        """Without the crosstabs, which only a report's own pages show."""
        return list(self.rollout.audits.defer("translations")[:MAX_AUDITS])

    @cached_property
    def audits(self) -> list[AuditReport]:
        """The newest audits, and the newest of each phase's newest run; the newest first."""
        newest = self._newest_audits
        if len(newest) < MAX_AUDITS:
            return newest
        known = {report.run_id for report in newest}
        runs = [run.pk for run in self.runs.values() if run.pk not in known]
        of_runs = AuditReport.objects.filter(run__in=runs).defer("translations")
        older = of_runs.order_by("run_id", "-id").distinct("run_id")
        return [*newest, *sorted(older, key=lambda report: report.pk, reverse=True)]

    @cached_property
    def full_audit(self) -> AuditReport | None:
        """The newest audit of all rows that came to its end: looked for where it mostly is."""
        for report in self._newest_audits:
            is_of_all = report.mode == AuditMode.FULL and not report.tables
            if is_of_all and report.status != AuditStatus.RUNNING:
                return report
        if len(self._newest_audits) < MAX_AUDITS:
            return None
        full = self.rollout.audits.filter(mode=AuditMode.FULL, tables=[])
        return full.exclude(status=AuditStatus.RUNNING).first()

    @cached_property
    def newest_finished_audit(self) -> AuditReport | None:
        """The newest audit of any kind that came to its end."""
        return next((a for a in self.audits if a.status != AuditStatus.RUNNING), None)

    @cached_property
    def audit_to_repair(self) -> AuditReport | None:
        """The audit whose mismatched rows wait for people."""
        # Many samples may have come since the full one.
        known = (*self.audits, *filter(None, [self.full_audit]))
        finished = [audit for audit in known if audit.status != AuditStatus.RUNNING]
        return to_repair(finished, is_reviewed_since=self.is_reviewed_since)

    def audit_is_older_than(self, report: AuditReport) -> str:
        """What made an audit outdated; empty if nothing did."""
        if self.write_path is not None and self.write_path.at > report.started_at:
            return f"step {self.write_path.what}, which changed what writes do"
        for change in (self.review, self.repair):
            if change is not None and change.at > report.started_at:
                return str(change)
        return ""

    @cached_property
    def reviews_to_follow(self) -> list[MappingChange]:
        """The reviews of values whose rows still hold what they held before, the newest first."""
        return reviews_to_follow({self.rollout.pk: self.runs})[self.rollout.pk]

    def rows_to_update(self, report: AuditReport) -> MappingChange | None:
        """The newest review since an audit began whose rows have yet to follow it."""
        newest = next(iter(self.reviews_to_follow), None)
        return newest if newest is not None and newest.at > report.started_at else None

    def is_reviewed_since(self, report: AuditReport) -> bool:
        """Whether people have reviewed values since an audit began."""
        newest = self.newest_mapping_change
        return newest is not None and newest[1] > report.started_at

    def rehearsal_is_older_than(self, rehearsal: Rehearsal) -> str:
        """The mapping review since a rehearsal's snapshot; empty if there was none."""
        taken_at = next((s.taken_at for s in self.snapshots if s.pk == rehearsal.snapshot_id), None)
        began = taken_at or rehearsal.created_at
        return str(self.review) if self.review is not None and self.review.at > began else ""


def _summary(review: Mapping[str, Any]) -> str:
    """Mapping decisions: the reviewer, the decision and its column."""
    who = f"{review['reviewer']}'s review of {review['table']}.{review['legacy_column']}"
    first, others = review["first"], review["texts"] - 1
    if first is None:
        return who
    text, name = _shortened(first["legacy"]), first["after"]
    more = f" and {counted(others, 'more value')}" if others else ""
    if first.get("taken_back"):
        return f"{who}, which took back the decision about “{text}”{more}"
    becomes = "no value" if name is None else f"“{_shortened(name)}”"
    return f"{who}, which mapped “{text}” to {becomes}{more}"


def _shortened(text: str) -> str:
    text = visible(text)
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"
