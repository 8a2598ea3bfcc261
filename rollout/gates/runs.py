"""Gates about what was carried out and found before."""

from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import is_done, is_not_started
from rollout.gates.registry import GateResult, check
from rollout.journal.audit_mappings import against
from rollout.journal.moments import in_words
from rollout.models import AuditStatus
from rollout.plan.gates import AuditClean, BackfillComplete, EarlierPhaseDone, NoRuleHolds
from rollout.plan.step import BACKFILL


@check(EarlierPhaseDone)
def earlier_phase(gate: EarlierPhaseDone, evidence: Evidence) -> GateResult:
    run, number = evidence.run_before, evidence.number - 1
    if is_done(run):
        assert run is not None
        return (
            "pass",
            f"Phase {number} is done since {in_words(run.finished_at or run.created_at)}.",
        )
    if is_not_started(run):
        return "fail", f"Phase {number} has not been carried out. Start it first."
    assert run is not None
    return (
        "fail",
        f"Phase {number} is {run.get_state_display().lower()}. Bring it to its end first.",
    )


@check(NoRuleHolds)
def no_rule_holds(gate: NoRuleHolds, evidence: Evidence) -> GateResult:
    if not evidence.facts.hold:
        return "pass", "No rule about the application's latency or errors holds the next phase."
    return "fail", (
        f"{evidence.facts.hold} See the monitoring page, and release it there once that is settled."
    )


@check(BackfillComplete)
def backfill_complete(gate: BackfillComplete, evidence: Evidence) -> GateResult:
    if not is_done(evidence.runs.get(BACKFILL)):
        return "fail", "The backfill has not come to its end. Carry out phase 2 first."
    jobs, plan = evidence.facts.jobs, evidence.plan
    finished = {(job.table, job.kind) for job in jobs}
    for table in plan.backfilled_tables:
        needed = {"fill": plan.translations_of(table), "compute": plan.computed_of(table)}
        for kind, translations in needed.items():
            if translations and (table.label, kind) not in finished:
                return "unknown", (
                    f"There is no finished {kind} of {table.label}. Roll phase 2 back and start it "
                    "again."
                )
    rows = sum(job.scanned for job in jobs)
    return "pass", f"The final sweep found no row left; {rows:,} rows were scanned."


@check(AuditClean)
def audit_clean(gate: AuditClean, evidence: Evidence) -> GateResult:
    report = evidence.facts.full_audit
    if report is None:
        return "unknown", "There is no full audit yet. Start one."
    at = in_words(report.started_at)
    if report.status == AuditStatus.INCONCLUSIVE:
        return (
            "unknown",
            f"The audit of {at} is inconclusive: {report.message} Start another.",
        )
    if report.status == AuditStatus.MISMATCHED:
        return (
            "fail",
            f"The audit of {at} found {report.mismatched:,} mismatched rows. Look at its report.",
        )
    newer = evidence.facts.audit_is_older_than(report)
    if newer:
        return "fail", f"The clean audit of {at} is older than {newer}. Start a new audit."
    if report.waived:
        return "pass", (
            f"The audit of {at} compared {report.rows:,} rows; {report.waived:,} mismatch and are "
            f"accepted by name. {against(report)}"
        ).strip()
    return "pass", (
        f"The audit of {at} compared {report.rows:,} rows and found no mismatch. {against(report)}"
    ).strip()
