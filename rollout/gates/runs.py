"""Gates about earlier phases, their backfills and audits, and guardrails that block."""

from dataclasses import replace

from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import is_done, is_not_started, phases_done
from rollout.gates.registry import GateResult, check, failed, passed, pending, unknown
from rollout.journal.audits import against, asks_people
from rollout.journal.moments import in_words
from rollout.logs.texts import counted
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    PhaseRun,
    RuleVerdict,
    RunState,
)
from rollout.plan.gates import AuditClean, BackfillComplete, EarlierPhaseDone, NoGuardrailHolds
from rollout.plan.plan import BACKFILL


@check(EarlierPhaseDone)
def earlier_phase(gate: EarlierPhaseDone, evidence: Evidence) -> GateResult:
    last, first = evidence.number - 1, phases_done(evidence.runs)
    if first < last and is_not_started(evidence.run_before):
        return pending("start_phase", f"Phases {first} to {last} must run first.")
    return phase_done(evidence.run_before, last)


def phase_done(run: PhaseRun | None, number: int) -> GateResult:
    """Whether a phase is done, by its newest run."""
    if run is None or is_not_started(run):
        return pending("start_phase", f"Phase {number} must run first.")
    if is_done(run):
        return passed(f"Phase {number} finished at {in_words(run.finished_at or run.created_at)}.")
    message = f"{run.title} is {run.get_state_display().lower()}."
    match run.state:
        case RunState.FAILED:
            return failed("retry_phase", f"{message} Retry it, or roll the phase back.")
        case RunState.CANCELLED:
            return pending("retry_phase", f"{message} Retry it, or roll the phase back.")
        case RunState.PAUSED:
            return pending("resume_phase", f"{message} Resume it.")
    return pending("wait", f"{message} Wait until it has finished.")


@check(NoGuardrailHolds)
def no_guardrail_holds(gate: NoGuardrailHolds, evidence: Evidence) -> GateResult:
    rule = evidence.facts.blocking_rule
    if rule is None:
        return passed("No guardrail blocks the next phase.")
    blocks = f"Guardrail “{rule.rule}” blocks the next phase: {rule.message}"
    own = next((own for own in evidence.plan.all_guardrails if own.id == rule.rule), None)
    if own is not None and own.resumes and own.statistic == "wrong_values":
        return failed(
            "review_audit",
            f"{blocks} Repair the rows. The hold ends automatically with a clean full audit.",
        )
    if own is not None and own.resumes:
        return failed(
            "review_monitoring",
            f"{blocks} Investigate. The hold ends automatically once the guardrail is OK.",
        )
    if rule.verdict == RuleVerdict.KEPT:
        return pending(
            "release_hold", f"{blocks} It is OK again. Release the hold on the Monitoring page."
        )
    return failed(
        "release_hold",
        f"{blocks} Investigate, then release the hold on the Monitoring page.",
    )


@check(BackfillComplete)
def backfill_complete(gate: BackfillComplete, evidence: Evidence) -> GateResult:
    backfill = phase_done(evidence.runs.get(BACKFILL), BACKFILL)
    if backfill.status != "pass":
        return replace(backfill, message=f"The backfill is not complete. {backfill.message}")
    jobs, plan = evidence.facts.jobs, evidence.plan
    finished = {(job.table, job.kind) for job in jobs}
    for table in plan.backfilled_tables:
        needed = {"fill": plan.translations_of(table), "compute": plan.computed_of(table)}
        for kind, translations in needed.items():
            if translations and (table.label, kind) not in finished:
                return unknown(
                    "roll_back_phase",
                    f"No finished {kind} job for {table.label}. Roll phase {BACKFILL} back and "
                    "start it again.",
                )
    rows = sum(job.scanned for job in jobs)
    return passed(
        f"Backfill complete: {counted(rows, 'row')} scanned, the final sweep found none that "
        "is not filled."
    )


@check(AuditClean)
def audit_clean(gate: AuditClean, evidence: Evidence) -> GateResult:
    result = _audit_clean(evidence)
    if result.status != "pass":
        audits = evidence.facts.audits
        full = next((a for a in audits if a.mode == AuditMode.FULL and not a.tables), None)
        if full is not None and full.status == AuditStatus.RUNNING:
            return pending("wait", f"Audit {full.pk} is running. Wait until it has finished.")
    return result


def _audit_again(report: AuditReport, evidence: Evidence, why: str) -> GateResult:
    """What comes before the next audit, if rows have to follow a review first."""
    if (change := evidence.facts.rows_to_update(report)) is not None:
        return pending("update_rows", f"{why} {change.to_update} first: an audit follows.")
    return pending("start_audit", f"{why} Start a new audit.")


def _mismatches(number: int) -> str:
    return f"{number:,} mismatch{'' if number == 1 else 'es'}"


def _audit_clean(evidence: Evidence) -> GateResult:
    report = evidence.facts.full_audit
    if report is None:
        return pending("start_audit", "No full audit yet. Start one.")
    audit = f"audit {report.pk} of {in_words(report.started_at)}"
    if report.status == AuditStatus.INCONCLUSIVE:
        return unknown(
            "start_audit", f"A{audit[1:]} is inconclusive: {report.message} Start another."
        )
    if report.status == AuditStatus.MISMATCHED:
        wrong = f"A{audit[1:]} found {_mismatches(report.mismatched)}"
        if asks_people(report) and evidence.facts.is_reviewed_since(report):
            since = f"{wrong}; people have decided about values since."
            return _audit_again(report, evidence, since)
        return failed("review_audit", f"{wrong}. Review its report.")
    if newer := evidence.facts.audit_is_older_than(report):
        return _audit_again(report, evidence, f"The clean {audit} is older than {newer}.")
    waived = f"; {report.waived:,} waived" if report.waived else ""
    return passed(
        f"Clean: {counted(report.rows, 'row')} compared in {audit}, "
        f"{_mismatches(report.mismatched - report.waived)}{waived}. "
        f"{against(report, is_reviewed_since=evidence.facts.is_reviewed_since(report))}".strip()
    )
