"""Audits that people ask for, of rows and of the activity log."""

from collections.abc import Sequence

from django.utils import timezone

from rollout import queue
from rollout.journal.actors import Actor, Refused
from rollout.journal.rollouts import alone_with, plan_of, refuse_out_of_reach
from rollout.models import AuditReport, AuditStatus, LogCheck, Rollout
from rollout.worker import audits
from rollout.worker.audits import AuditJob, asked_for

LARGEST_SAMPLE = 1_000_000


def refusal_to_audit(
    rollout: Rollout, *, sample: int | None, seed: int | None, tables: Sequence[str]
) -> str:
    """Why there can be no such audit, and what to do about it; empty if there can."""
    known = [table.label for table in plan_of(rollout).audited_tables]
    unknown = sorted(set(tables) - set(known))
    if unknown:
        return f"No audit reads the table {unknown[0]}. Audited tables: {', '.join(known)}."
    if sample is not None and not 1 <= sample <= LARGEST_SAMPLE:
        return f"The sample size must be 1 to {LARGEST_SAMPLE:,} rows, for example 10,000."
    if seed is not None and not 0 <= seed <= audits.LARGEST_SEED:
        return f"The seed must be a number from 0 to {audits.LARGEST_SEED:,}."
    return ""


def start_audit(
    rollout: Rollout,
    *,
    actor: Actor,
    source: str = "web",
    sample: int | None = None,
    seed: int | None = None,
    tables: Sequence[str] = (),
) -> AuditReport:
    """Request a full audit of a rollout, or one of ``sample`` random rows of each table.

    Raises Refused while another is running, and for an invalid size, seed or table.
    """
    refuse_out_of_reach(rollout)
    refusal = refusal_to_audit(rollout, sample=sample, seed=seed, tables=tables)
    if refusal:
        raise Refused(refusal)
    with alone_with(rollout):
        running = AuditReport.objects.filter(rollout=rollout, status=AuditStatus.RUNNING).first()
        if running is not None:
            raise Refused(f"{running.actor_name}'s audit is already running. Wait for its report.")
        report = audits.asked_for(
            rollout,
            actor_name=actor.get_username(),
            source=source,
            sample=sample,
            seed=seed,
            tables=tables,
        )
        queue.send_work(report)
    return report


def make_now(
    rollout: Rollout,
    *,
    actor_name: str,
    source: str,
    sample: int | None = None,
    seed: int | None = None,
    tables: Sequence[str] = (),
) -> AuditReport:
    """Make a report in this process, for a shell that waits for it."""
    report = asked_for(
        rollout, actor_name=actor_name, source=source, sample=sample, seed=seed, tables=tables
    )
    AuditJob.carry_out(report.pk, report.token, from_queue=False)
    report.refresh_from_db()
    return report


def verify_log() -> None:
    """Let the watchdog verify the activity log's chain again, from the first entry."""
    LogCheck.objects.get_or_create(pk=1)
    LogCheck.objects.filter(pk=1).update(wanted_at=timezone.now())
