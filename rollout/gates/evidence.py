"""What the gates of a phase are answered from: read when a gate asks for it, and only once."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, Func, IntegerField, Q, QuerySet, Subquery, Sum
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Coalesce, JSONObject, Now
from django.utils import timezone

from rollout.gates.phase_states import newest_runs
from rollout.journal import watched_times
from rollout.journal.environments import is_protected
from rollout.journal.heartbeats import WATCHDOG, WORKER, plausible
from rollout.journal.json_rows import made, whole
from rollout.journal.moments import in_words
from rollout.journal.snapshots import EVIDENCE
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    BackfillJob,
    FlowProbe,
    Heartbeat,
    MappingChange,
    Measurement,
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
    Way,
)
from rollout.models.repairs import EVERY_TABLE
from rollout.plan import plans
from rollout.plan.gates import Gate
from rollout.plan.plan import Plan
from rollout.plan.step import BACKFILL
from rollout.telemetry import reading
from rollout.telemetry.reading import Figures

LONGEST_TEXT = 60
"""Characters of a legacy text in an answer."""
AUDITS = 5
REHEARSALS = 5
SNAPSHOTS = 50
"""So many of the newest snapshots are looked at for a verified one."""


@dataclass(frozen=True)
class Change:
    """Something that was done, and when."""

    what: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.what} ({in_words(self.at)})"


@dataclass(frozen=True)
class Elsewhere:
    """A backfill that came to its end in another environment, by the plan as it was then."""

    environment: str
    actor_name: str
    plan_digest: str
    finished_at: datetime


@dataclass(frozen=True)
class Facts:
    """Single facts of the journal, all from one query.

    ``jobs`` are the ended jobs of the newest run of the backfill: {"table", "kind", "scanned"}.
    """

    write_path: Change | None
    """The newest step, either way, after which what is written is another than before."""
    review: Change | None
    """The newest review of a mapping that changed what some row gets."""
    repair: Change | None
    """The newest repair of rows that ended."""
    rules: list[RuleState]
    """What was last said of each rule."""
    jobs: list[dict[str, Any]]
    probes: dict[str, FlowProbe]
    """The newest probe of each flow."""
    sign_offs: list[SignOff]
    """What people signed and did not withdraw, and every override; the newest first."""
    snapshots: list[Snapshot]
    """The newest snapshots, without the evidence that only their pages show; the newest first."""
    rehearsals: list[Rehearsal]
    """The newest rehearsals, without the catalog that only their end reads; the newest first."""
    filled_elsewhere: list[Elsewhere]
    """The newest run of the backfill in each other environment; the newest first."""
    worker_seen_at: datetime | None
    watchdog_seen_at: datetime | None
    asked_at: datetime
    """By the database's clock, as the two before it."""
    watched: list[WatchedTime]
    """The newest times that a watchdog saw pass, by the same clock."""

    @property
    def hold(self) -> str:
        """What a rule that holds the next phase says; empty where none does."""
        holds = (one for one in self.rules if one.action == "hold" and one.acting)
        rule = next(holds, None)
        if rule is None:
            return ""
        is_kept = rule.verdict == RuleVerdict.KEPT
        until = " It is kept again, and holds until somebody releases it." if is_kept else ""
        return f"Rule “{rule.rule}” holds the next phase: {rule.message}{until}"

    def audit_is_older_than(self, report: AuditReport) -> str:
        """What came after an audit, so that it counts no longer; empty where nothing did."""
        if self.write_path is not None and self.write_path.at > report.started_at:
            return f"step {self.write_path.what}, which changed what is written"
        for change in (self.review, self.repair):
            if change is not None and change.at > report.started_at:
                return str(change)
        return ""

    def rehearsal_is_older_than(self, rehearsal: Rehearsal) -> str:
        """What texts meant otherwise when the snapshot of a rehearsal was taken; empty: nothing."""
        taken_at = next((s.taken_at for s in self.snapshots if s.pk == rehearsal.snapshot_id), None)
        began = taken_at or rehearsal.created_at
        return str(self.review) if self.review is not None and self.review.at > began else ""

    @property
    def broken(self) -> Change | None:
        """The guardrail that was breached last of those that pause or block, and when.

        What only warns or slows backfills down heals by itself: it is no reason to soak anew.
        """
        broken = [
            Change(one.rule, one.last_broken_at)
            for one in self.rules
            if one.last_broken_at and one.action in ("pause", "hold")
        ]
        return max(broken, key=lambda change: change.at, default=None)


class Evidence:
    """The journal of a rollout, as far as the gates before one of its phases ask for it."""

    def __init__(
        self,
        rollout: Rollout,
        number: int,
        *,
        plan: Plan | None = None,
        runs: dict[int, PhaseRun] | None = None,
        starter: object = None,
    ) -> None:
        """``starter`` is who asks to start the phase: whose own approval does not count."""
        self.rollout = rollout
        self.number = number
        self.plan = plans.get(rollout.plan) if plan is None else plan
        self.runs = newest_runs(rollout) if runs is None else runs
        self.starter = starter
        self._facts_of: Evidence | None = None
        """Facts are the rollout's: one query is enough for all phases."""

    def of_phase(self, number: int) -> "Evidence":
        """The evidence for another phase of the same rollout; itself for its own."""
        if number == self.number:
            return self
        other = copy(self)  # With what was read already: it is the same for every phase.
        other.number = number
        other._facts_of = self
        return other

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates before the phase in this environment."""
        return self.plan.gates_of(self.number, protected=is_protected(self.rollout.environment))

    def sign_offs(self, kind: SignOffKind, *, phase: int | None = None) -> list[SignOff]:
        """What was signed of a kind about the phase, the newest first; withdrawn ones too where
        they are kept in sight."""
        wanted = self.number if phase is None else phase
        return [one for one in self.facts.sign_offs if one.kind == kind and one.phase == wanted]

    def is_by_another(self, one: SignOff) -> bool:
        """Whether somebody else signed than the one who starts. Only a user of the site can be
        told from another."""
        if self.starter is None:
            return True
        return isinstance(self.starter, get_user_model()) and one.actor_id != self.starter.pk

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
        if self._facts_of is not None:
            return self._facts_of.facts
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
        reviews = MappingChange.objects.filter(rollout=self.rollout).exclude(rows_changed=0)
        repairs = Repair.objects.filter(
            run__rollout=self.rollout, run__steps__isnull=False, run__finished_at__isnull=False
        ).order_by("-run__finished_at")
        rules = RuleState.objects.filter(rollout=self.rollout)
        signed = SignOff.objects.filter(rollout=self.rollout).filter(
            Q(withdrawn_at=None) | Q(kind__in=(SignOffKind.OVERRIDE, SignOffKind.APPROVAL))
        )
        probes = (
            FlowProbe.objects.filter(rollout=self.rollout).order_by("flow", "-id").distinct("flow")
        )
        snapshots = Snapshot.objects.filter(rollout=self.rollout)[:SNAPSHOTS]
        rehearsals = Rehearsal.objects.filter(rollout=self.rollout)[:REHEARSALS]
        elsewhere = (
            PhaseRun.objects.filter(
                rollout__plan=self.plan.name,
                way=Way.FORWARD,
                state=RunState.DONE,
                phase=BACKFILL,
                # What a snapshot brought along was not carried out there.
                finished_at__gt=F("started_at"),
            )
            .exclude(rollout=self.rollout)
            .order_by("rollout__environment", "-id")
            .distinct("rollout__environment")
        )
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
                # Of what it changed the text of most rows, and how many texts.
                review_change=_first(reviews, KeyTransform("0", "changes")),
                review_texts=_first(
                    reviews,
                    Func(
                        F("changes"),
                        function="jsonb_array_length",
                        output_field=IntegerField(),
                    ),
                ),
                repair_table=_first(repairs, "table"),
                repair_at=_first(repairs, "run__finished_at"),
                worker_seen_at=_first(
                    Heartbeat.objects.filter(plausible(), kind=WORKER), "seen_at"
                ),
                watchdog_seen_at=_first(
                    Heartbeat.objects.filter(plausible(), kind=WATCHDOG), "seen_at"
                ),
                asked_at=Now(),
                watched=ArraySubquery(
                    WatchedTime.objects.all()[: watched_times.NEWEST].values(
                        json=whole(WatchedTime)
                    )
                ),
                judged=ArraySubquery(rules.values(json=whole(RuleState))),
                jobs=ArraySubquery(
                    jobs.values(json=JSONObject(table="table", kind="kind", scanned="scanned"))
                ),
                newest_probes=ArraySubquery(probes.values(json=whole(FlowProbe))),
                signed=ArraySubquery(signed.values(json=whole(SignOff))),
                newest_snapshots=ArraySubquery(
                    snapshots.values(json=whole(Snapshot, besides=EVIDENCE))
                ),
                rehearsed=ArraySubquery(
                    rehearsals.values(json=whole(Rehearsal, besides=["before"]))
                ),
                elsewhere=ArraySubquery(
                    elsewhere.values(
                        json=JSONObject(
                            environment="rollout__environment",
                            actor_name="actor_name",
                            plan_digest="plan_digest",
                            finished_at="finished_at",
                        )
                    )
                ),
            )
            .get()
        )
        repaired = found["repair_table"] or EVERY_TABLE
        return Facts(
            write_path=_change(found["step"] or "", found["step_at"]),
            review=_change(_review(found), found["review_at"]),
            repair=_change(f"the repair of {repaired}", found["repair_at"]),
            rules=[made(RuleState, row) for row in found["judged"]],
            worker_seen_at=found["worker_seen_at"],
            watchdog_seen_at=found["watchdog_seen_at"],
            asked_at=found["asked_at"],
            watched=[made(WatchedTime, row) for row in found["watched"]],
            jobs=found["jobs"],
            probes={row["flow"]: made(FlowProbe, row) for row in found["newest_probes"]},
            sign_offs=[made(SignOff, row) for row in found["signed"]],
            snapshots=[made(Snapshot, row) for row in found["newest_snapshots"]],
            rehearsals=[made(Rehearsal, row) for row in found["rehearsed"]],
            filled_elsewhere=sorted(
                (
                    Elsewhere(**{**row, "finished_at": datetime.fromisoformat(row["finished_at"])})
                    for row in found["elsewhere"]
                ),
                key=lambda each: each.finished_at,
                reverse=True,
            ),
        )

    @cached_property
    def audits(self) -> list[AuditReport]:
        """The newest audits, of all rows that came to an end, and of each phase's newest run: from
        one query, the newest first."""
        newest = AuditReport.objects.filter(rollout=self.rollout)[:AUDITS]
        runs = [run.pk for run in self.runs.values()]
        of_runs = (
            AuditReport.objects.filter(run__in=runs).order_by("run_id", "-id").distinct("run_id")
        )
        several = newest.union(self._full_audits[:1], of_runs[: len(runs)], all=True)
        found = {report.pk: report for report in several}
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

    @property
    def now(self) -> datetime:
        """By the database's clock, when the facts were read: the same for all machines."""
        return self.facts.asked_at

    def watched_since(self, moment: datetime) -> timedelta:
        """How long watchdogs have seen time pass since a moment: not what a clock jumped over."""
        return watched_times.total_since(moment, self.facts.watched)

    def calls_since(self, moment: datetime) -> int:
        """How many calls of the application were measured since then."""
        found = Measurement.objects.filter(at__gte=moment).aggregate(calls=Sum("calls"))
        return found["calls"] or 0

    def figures_of_last(self, seconds: int) -> dict[str, Figures]:
        """What the application did in the last seconds, by operation."""
        now = timezone.now()
        return reading.figures(now - timedelta(seconds=seconds), now)

    @property
    def snapshots(self) -> list[Snapshot]:
        """The newest snapshots."""
        return self.facts.snapshots


def _is_full_and_ended(report: AuditReport) -> bool:
    return (
        report.mode == AuditMode.FULL and not report.tables and report.status != AuditStatus.RUNNING
    )


def _first(found: QuerySet[Any], value: Any) -> Subquery:
    return Subquery(found.values(first=F(value) if isinstance(value, str) else value)[:1])


def _review(found: Mapping[str, Any]) -> str:
    """Who decided what of which column."""
    who = f"{found['reviewer']}'s review of {found['review_table']}.{found['review_column']}"
    first, others = found["review_change"], (found["review_texts"] or 0) - 1
    if first is None:
        return who
    text, name = _short(first["legacy"]), first["after"]
    becomes = "no value" if name is None else f"“{_short(name)}”"
    more = f" and {others:,} more text{'' if others == 1 else 's'}" if others else ""
    return f"{who}, by which “{text}” became {becomes}{more}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _change(what: str, at: datetime | None) -> Change | None:
    return None if at is None else Change(what, at)
