"""Finding what an address names, or answering 404 with the names that there are."""

from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404

from rollout.console.http.inputs import number_in
from rollout.journal.environments import UnknownEnvironment
from rollout.models import (
    AuditReport,
    BackfillJob,
    Environment,
    Finding,
    MappingChange,
    PhaseRun,
    Rehearsal,
    Restore,
    Rollout,
    SignOff,
    Snapshot,
)
from rollout.notifications.webhooks import Webhook, webhooks
from rollout.plan import Lookup, Plan, plans
from rollout.plan.conversions import Conversion
from rollout.plan.errors import RolloutError
from rollout.plan.registry import UnknownPlan
from rollout.queries.status import (
    PhaseStatus,
    RolloutStatus,
    closed_reason,
    find_rollout,
    status_of,
)

Row = TypeVar("Row", bound=Model)


class Closed(RolloutError):
    """A rollout that only the journal remembers; the message says what is there no more."""

    def __init__(self, rollout: Rollout, why: str) -> None:
        super().__init__(why)
        self.rollout = rollout


def rollout_or_404(plan: str, environment: str) -> Rollout:
    """The rollout of an address. Raises Closed where only the journal remembers it."""
    try:
        return find_rollout(plan, environment)
    except (UnknownPlan, UnknownEnvironment) as error:
        named = Rollout.objects.filter(plan=plan, environment=environment).first()
        gone = error.gone if isinstance(error, UnknownEnvironment) else ""
        if named is not None and (why := gone or closed_reason(named)):
            raise Closed(named, why) from error
        raise Http404(str(error)) from error


def status_or_404(plan: str, environment: str, *, starter: object = None) -> RolloutStatus:
    """``starter`` is who would start a phase: whose own approval does not count."""
    return status_of(rollout_or_404(plan, environment), starter=starter)


def plan_or_404(name: str, environment: str, number: int) -> Plan:
    """A plan that has that phase, in an environment that knows it."""
    plan = plans.get(rollout_or_404(name, environment).plan)
    if number not in range(len(plan.phases)):
        raise Http404(_no_phase(number, len(plan.phases) - 1))
    return plan


def phase_or_404(status: RolloutStatus, number: int) -> PhaseStatus:
    for phase in status.phases:
        if phase.number == number:
            return phase
    raise Http404(_no_phase(number, status.phases[-1].number))


def _no_phase(number: int, last: int) -> str:
    return f"Phase {number} not found. The plan has phases 0 to {last}."


def run_or_404(rollout: Rollout, number: str) -> PhaseRun:
    missing = f"Run {number} of {rollout} not found. Open the rollout to see its runs."
    return row_or_404(PhaseRun.objects.filter(rollout=rollout), number_in(number), missing)


def job_or_404(job_id: int) -> BackfillJob:
    jobs = BackfillJob.objects.select_related("step_run__run__rollout")
    return row_or_404(
        jobs, job_id, f"Backfill job {job_id} not found. Open the rollout's backfill jobs."
    )


def audit_or_404(audit_id: int) -> AuditReport:
    audits = AuditReport.objects.select_related("rollout", "run")
    return row_or_404(audits, audit_id, f"Audit {audit_id} not found. Open the rollout's audits.")


def snapshot_or_404(snapshot_id: int) -> Snapshot:
    missing = f"Snapshot {snapshot_id} not found. Open the rollout's snapshots."
    return row_or_404(Snapshot.objects.select_related("rollout", "run"), snapshot_id, missing)


def snapshot_named(number: str) -> Snapshot | None:
    """The snapshot whose number a form names; None where it names none."""
    if not number:
        return None
    known = number_in(number)
    if known is None:
        raise Http404("Invalid snapshot number. Open the rollout's snapshots.")
    return snapshot_or_404(known)


def rehearsal_or_404(rehearsal_id: int) -> Rehearsal:
    rehearsals = Rehearsal.objects.select_related("rollout", "environment", "sandbox", "snapshot")
    rehearsals = rehearsals.defer("snapshot__crosstabs", "snapshot__contents")
    missing = f"Rehearsal {rehearsal_id} not found. Open the rollout's rehearsals."
    return row_or_404(rehearsals.defer("before"), rehearsal_id, missing)


def environment_or_404(environment_id: int) -> Environment:
    missing = f"Environment {environment_id} not found. Open the list of rollouts."
    return row_or_404(Environment.objects.all(), environment_id, missing)


def sign_off_or_404(sign_off_id: int) -> SignOff:
    missing = "Approval or override not found. Open the rollout to see its approvals."
    return row_or_404(SignOff.objects.select_related("rollout"), sign_off_id, missing)


def finding_or_404(finding_id: int) -> Finding:
    missing = f"There is no finding {finding_id}. Open a mismatched row from its audit's page."
    return row_or_404(Finding.objects.select_related("rollout"), finding_id, missing)


def restore_or_404(restore_id: int) -> Restore:
    missing = f"Restore {restore_id} not found. Open the snapshot to see its restores."
    restores = Restore.objects.select_related("rollout", "snapshot__rollout")
    return row_or_404(restores, restore_id, missing)


def review_or_404(change_id: int) -> MappingChange:
    missing = f"Review {change_id} not found. Open the rollout's mapping review."
    return row_or_404(MappingChange.objects.select_related("rollout"), change_id, missing)


def lookup_or_404(rollout: Rollout, table: str, column: str) -> Lookup:
    lookups = plans.get(rollout.plan).lookups
    for lookup in lookups:
        if (lookup.table.label, lookup.legacy) == (table, column):
            return lookup
    known = ", ".join(f"{x.table.label}.{x.legacy}" for x in lookups) or "none"
    raise Http404(f"The plan has no lookup of {table}.{column}. Its lookups: {known}.")


def conversion_or_404(rollout: Rollout, table: str, column: str) -> Conversion:
    """A conversion of which people decide about the values that do not convert."""
    conversions = plans.get(rollout.plan).reviewed_conversions
    for conversion in conversions:
        if (conversion.table.label, conversion.name) == (table, column):
            return conversion
    known = ", ".join(f"{t.table.label}.{t.name}" for t in conversions) or "none"
    raise Http404(f"The plan converts nothing to {table}.{column}. Its conversions: {known}.")


def webhook_or_404(name: str) -> Webhook:
    hook = webhooks().get(name)
    if hook is None:
        known = ", ".join(sorted(webhooks())) or "none"
        raise Http404(f"Webhook {name} not found. The settings name: {known}.")
    return hook


def row_or_404(rows: QuerySet[Row], number: int | None, missing: str) -> Row:
    """The row of that number; else a page that says what is ``missing``."""
    row = rows.filter(pk=number).first() if number is not None else None
    if row is None:
        raise Http404(missing)
    return row
