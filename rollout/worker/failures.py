"""Errors that stop a run: whether a server went away, and what people do about them."""

import psycopg
from django.db import InterfaceError, OperationalError

from rollout.engine import ddl, quarantine
from rollout.engine.snapshot.failures import shortage
from rollout.engine.target import TargetGone
from rollout.journal.audits import asks_people
from rollout.journal.runbook import Entry
from rollout.models import AuditReport, PhaseRun
from rollout.plan.errors import RolloutError
from rollout.plan.plan import Plan
from rollout.worker import lost_triggers, proofs


class StepFailed(RolloutError):
    """A step found a reason to stop its phase; the message says what to do."""


class Mismatched(StepFailed):
    """The audit of a step is not clean."""


class ValuesUndecided(Mismatched):
    """No mismatched row can be repaired before people decide about values.

    ``command`` is the shell's, which lists these values.
    """

    def __init__(self, message: str, command: str) -> None:
        super().__init__(message)
        self.command = command


class SchemaDiffers(StepFailed):
    """The live schema is not what the plan expects."""


class PlanDiffers(StepFailed):
    """The plan of this worker is not the one that the run was started or retried with."""


class SmokeTestTooSlow(RolloutError):
    """A statement of a smoke test exceeded its timeout."""


# The runbook's entry for an error that stopped a run: the first whose class fits.
ENTRIES: tuple[tuple[type[Exception], Entry], ...] = (
    (ddl.LockNotObtained, Entry.LOCK),
    (lost_triggers.TriggersLost, Entry.TRIGGER_DROPPED),
    (TargetGone, Entry.MISSING),
    (Mismatched, Entry.MISMATCHES),
    (SchemaDiffers, Entry.DRIFT),
    (PlanDiffers, Entry.PLAN_CHANGED),
    (quarantine.TooManyPoisonRows, Entry.QUARANTINE),
    (proofs.Disproved, Entry.ROWS_DIFFER),
    (proofs.RowsRefused, Entry.ROWS_DIFFER),
    (SmokeTestTooSlow, Entry.SMOKE_TEST),
    (psycopg.errors.DiskFull, Entry.DISK_FULL),
    (ddl.RowsInTheWay, Entry.BUILD_FAILED),
    (psycopg.IntegrityError, Entry.BUILD_FAILED),
)


def refuse_other_plan(run: PhaseRun, plan: Plan) -> None:
    """People read and approved the plan that the run names. Raises PlanDiffers for another."""
    if plan.digest != run.plan_digest:
        raise PlanDiffers(
            f"{run.title} was started with plan {run.plan_digest}, but this worker has plan "
            f"{plan.digest}: its code is of another release."
        )


def not_clean(report: AuditReport, outcome: str) -> Mismatched:
    """Return what to raise about the audit of a step."""
    if not asks_people(report):
        return Mismatched(outcome)
    verb = "unconvertible" if report.categories.get("undecided") else "mapping"
    return ValuesUndecided(outcome, f"manage.py rollout {verb} {report.rollout.plan}")


def connection_lost(error: Exception) -> bool:
    """Whether a server went away, rather than refused something. One that is gone stays away."""
    if isinstance(error, TargetGone):
        return False
    if isinstance(error, OperationalError | InterfaceError):
        cause = error.__cause__
        return not isinstance(cause, psycopg.Error) or connection_lost(cause)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        state = error.sqlstate or "08000"
        # The last two: it was silent for too long, as a machine that was cut off or suspended.
        return state.startswith("08") or state in ("57P01", "57P02", "57P03", "25P03", "57P05")
    return False


def entry_for(error: Exception, *, backward: bool) -> Entry:
    """The runbook's entry for an error that stopped a phase, its rollback, or a repair."""
    otherwise = Entry.HALF_WAY if backward else Entry.PHASE_FAILED
    return next((entry for kind, entry in ENTRIES if isinstance(error, kind)), otherwise)


def advice_for(error: Exception, *, may_go_back: bool = True) -> str:
    """What to do next about an error that stopped a phase, its rollback, or a repair."""
    again = "then retry; or roll the phase back." if may_go_back else "then retry."
    match error:
        case ddl.LockNotObtained():
            return "Wait for the listed transactions to finish, then retry."
        case lost_triggers.TriggersLost():
            return error.advice
        case TargetGone():
            return "The database no longer exists: no further step is possible."
        case PlanDiffers():
            return "Restart the web processes, workers and watchdog with one release, then retry."
        case ValuesUndecided():
            return f"Decide about the values of these rows ({error.command}), {again}"
        case StepFailed():
            return f"Fix the reported problem, {again}"
        case psycopg.errors.DiskFull():
            return f"{shortage(str(error))[1]}, {again}"
        case psycopg.errors.InsufficientPrivilege():
            return "Grant the missing privilege to the rollout's database role, then retry."
        case psycopg.Error():
            return (
                f"The database rejected the statement. Fix what it names, {again} A half-built "
                "index is removed first; nothing else of the statement remains."
            )
    return f"Fix the reported problem, {again}"
