"""Makes audit reports: those that somebody asked for, and those that are steps of a phase."""

from dataclasses import asdict

import psycopg
from django.db import transaction
from django.utils import timezone

from rollout import log
from rollout.engine.audit import AuditResult, run_audit
from rollout.engine.control import Interrupted
from rollout.environments import target_of
from rollout.models import AuditReport, AuditStatus, Mismatch, PhaseRun, Rollout
from rollout.plan import plans
from rollout.runner import lease
from rollout.runner.lease import Lease


def carry_out(report_id: int, token: int, *, from_queue: bool = True) -> None:
    """Make a report that was asked for, if the token is still the newest one."""
    report = (
        AuditReport.objects.select_related("rollout")
        .filter(pk=report_id, status=AuditStatus.RUNNING)
        .first()
    )
    if report is None or not lease.claim(report, token):
        return
    with Lease(report, on_wait=lambda _reason: None, from_queue=from_queue) as held:
        try:
            result = _compare(report, held)
        except Interrupted:
            return
        _write(report, result)


def asked_for(rollout: Rollout, *, actor_name: str, source: str) -> AuditReport:
    """A report that somebody asks for, written down and yet to be made."""
    with transaction.atomic():
        report = AuditReport.objects.create(
            rollout=rollout,
            plan_digest=plans.get(rollout.plan).digest,
            actor_name=actor_name,
            started_at=timezone.now(),
            lease_until=lease.grace(),
        )
        log.record(
            "audit asked for",
            "Asked for a full audit.",
            actor=actor_name,
            source=source,
            rollout=rollout,
            data={"report": report.pk},
        )
    return report


def make_now(rollout: Rollout, *, actor_name: str, source: str) -> AuditReport:
    """Make a report in this process, without the queue: for a shell that waits for the answer."""
    report = asked_for(rollout, actor_name=actor_name, source=source)
    carry_out(report.pk, report.token, from_queue=False)
    report.refresh_from_db()
    return report


def of_run(run: PhaseRun, held: Lease) -> AuditReport:
    """Make the report of a phase's audit step, under the lease of its run."""
    give_up(run, "Its worker died before the end; the step was done again.")
    report = AuditReport.objects.create(
        rollout=run.rollout,
        run=run,
        plan_digest=run.plan_digest,
        actor_name=run.actor_name,
        started_at=timezone.now(),
    )
    _write(report, _compare(report, held))
    return report


def give_up(run: PhaseRun, why: str) -> None:
    """Close what audit a run has left unfinished, so that nobody waits for it."""
    AuditReport.objects.filter(run=run, status=AuditStatus.RUNNING).update(
        status=AuditStatus.INCONCLUSIVE, message=why, finished_at=timezone.now()
    )


def _compare(report: AuditReport, held: Lease) -> AuditResult:
    try:
        with target_of(report.rollout.environment).connect() as connection:
            held.using(connection)
            return run_audit(connection, plans.get(report.rollout.plan))
    except psycopg.Error as error:
        held.check()
        return AuditResult(inconclusive=f"The database refused or went away: {error}")


def _write(report: AuditReport, result: AuditResult) -> None:
    report.rows = result.rows
    report.matched = result.matched
    report.mismatched = result.mismatched
    report.categories = result.categories
    report.translations = [
        {**asdict(translation), "categories": translation.categories}
        for translation in result.translations
    ]
    report.stored_mismatches = len(result.mismatches)
    report.message = result.inconclusive
    report.finished_at = timezone.now()
    report.status = (
        AuditStatus.INCONCLUSIVE
        if result.inconclusive
        else AuditStatus.MISMATCHED
        if result.mismatched
        else AuditStatus.CLEAN
    )
    with transaction.atomic():
        Mismatch.objects.bulk_create(
            [Mismatch(report=report, **asdict(row)) for row in result.mismatches], batch_size=1000
        )
        report.save()
        log.record(
            "audit done",
            f"Audit {report.pk} is {report.status}: {report.rows:,} rows, "
            f"{report.mismatched:,} mismatched.",
            actor=report.actor_name,
            source="worker",
            rollout=report.rollout,
            phase=report.run.phase if report.run else None,
            data={"report": report.pk, "rows": report.rows, "categories": report.categories},
        )
