"""What the gates of a phase are answered from: read when a gate asks for it, and only once."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject

from rollout.gates.standing import newest_runs
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    BackfillJob,
    MappingChange,
    PhaseRun,
    Repair,
    Rollout,
    RuleState,
    Snapshot,
    StepRun,
)
from rollout.plan import plans
from rollout.plan.plan import Plan
from rollout.plan.step import BACKFILL
from rollout.snapshots import listed

AUDITS = 5
SNAPSHOTS = 50
"""So many of the newest snapshots are looked at for a verified one."""


@dataclass(frozen=True)
class Change:
    """Something that was done, and when."""

    what: str
    at: datetime


@dataclass(frozen=True)
class Facts:
    """Single facts of the journal, all from one query.

    ``jobs`` are the ended jobs of the newest run of the backfill: {"table", "kind", "scanned"}.
    """

    write_path: Change | None
    """The newest step, either way, after which what is written is another than before."""
    review: Change | None
    """The newest review of a mapping."""
    repair: Change | None
    """The newest repair of rows that ended."""
    hold: str
    """What a rule that holds the next phase says; empty where none does."""
    jobs: list[dict[str, Any]]


class Evidence:
    """The journal of a rollout, as far as the gates before one of its phases ask for it."""

    def __init__(
        self,
        rollout: Rollout,
        number: int,
        *,
        plan: Plan | None = None,
        runs: dict[int, PhaseRun] | None = None,
    ) -> None:
        self.rollout = rollout
        self.number = number
        self.plan = plans.get(rollout.plan) if plan is None else plan
        self.runs = newest_runs(rollout) if runs is None else runs

    def of_phase(self, number: int) -> "Evidence":
        """The evidence for another phase of the same rollout; itself for its own."""
        if number == self.number:
            return self
        return Evidence(self.rollout, number, plan=self.plan, runs=self.runs)

    @property
    def run(self) -> PhaseRun | None:
        """The newest run of the phase itself."""
        return self.runs.get(self.number)

    @property
    def run_before(self) -> PhaseRun | None:
        """The newest run of the phase before it."""
        return self.runs.get(self.number - 1)

    @cached_property
    def facts(self) -> Facts:
        steps = StepRun.objects.filter(
            run__rollout=self.rollout,
            step__in=[
                step.id
                for phase in self.plan.phases
                for step in phase.steps
                if step.changes_write_path
            ],
            started_at__isnull=False,
        ).order_by("-started_at")
        reviews = MappingChange.objects.filter(rollout=self.rollout)
        repairs = Repair.objects.filter(
            run__rollout=self.rollout, run__steps__isnull=False, run__finished_at__isnull=False
        ).order_by("-run__finished_at")
        holds = RuleState.objects.filter(rollout=self.rollout, action="hold", acting=True)
        filling = self.runs.get(BACKFILL)
        jobs = BackfillJob.objects.filter(
            step_run__run=filling and filling.pk,
            kind__in=("fill", "compute"),
            finished_at__isnull=False,
        ).order_by("pk")
        found = (
            Rollout.objects.filter(pk=self.rollout.pk)
            .values(
                step=_first(steps, "step"),
                step_at=_first(steps, Coalesce("finished_at", "started_at")),
                reviewer=_first(reviews, "reviewer"),
                review_table=_first(reviews, "table"),
                review_column=_first(reviews, "legacy_column"),
                review_at=_first(reviews, "at"),
                repair_table=_first(repairs, "table"),
                repair_at=_first(repairs, "run__finished_at"),
                rule=_first(holds, "rule"),
                rule_message=_first(holds, "message"),
                jobs=ArraySubquery(
                    jobs.values(json=JSONObject(table="table", kind="kind", scanned="scanned"))
                ),
            )
            .get()
        )
        review = f"{found['reviewer']}'s review of {found['review_table']}.{found['review_column']}"
        return Facts(
            write_path=_change(found["step"] or "", found["step_at"]),
            review=_change(review, found["review_at"]),
            repair=_change(f"the repair of {found['repair_table']}", found["repair_at"]),
            hold=found["rule"]
            and f"Rule “{found['rule']}” holds the next phase: {found['rule_message']}",
            jobs=found["jobs"],
        )

    @cached_property
    def audits(self) -> list[AuditReport]:
        """The newest audits, and the newest of all rows that came to its end, from one query."""
        newest = AuditReport.objects.filter(rollout=self.rollout)[:AUDITS]
        found = {report.pk: report for report in newest.union(self._full_audits[:1], all=True)}
        return [found[pk] for pk in sorted(found, reverse=True)]

    @property
    def full_audit(self) -> AuditReport | None:
        """The newest audit of all rows that came to its end."""
        return next((report for report in self.audits if _is_full_and_ended(report)), None)

    @property
    def _full_audits(self) -> QuerySet[AuditReport]:
        return AuditReport.objects.filter(
            rollout=self.rollout, mode=AuditMode.FULL, tables=[]
        ).exclude(status=AuditStatus.RUNNING)

    @cached_property
    def snapshots(self) -> list[Snapshot]:
        """The newest snapshots."""
        return list(listed(self.rollout)[:SNAPSHOTS])


def _is_full_and_ended(report: AuditReport) -> bool:
    return (
        report.mode == AuditMode.FULL and not report.tables and report.status != AuditStatus.RUNNING
    )


def _first(found: QuerySet[Any], value: Any) -> Subquery:
    return Subquery(found.values(first=F(value) if isinstance(value, str) else value)[:1])


def _change(what: str, at: datetime | None) -> Change | None:
    return None if at is None else Change(what, at)
