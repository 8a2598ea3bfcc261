"""The entries of docs/runbook.md, and which of them an error or a failing gate is about."""

from enum import StrEnum

from rollout.conf import setting
from rollout.plan import gates


class Entry(StrEnum):
    """One member for each entry: its anchor and its heading."""

    heading: str

    def __new__(cls, anchor: str, heading: str = "") -> "Entry":
        entry = str.__new__(cls, anchor)
        entry._value_ = anchor
        entry.heading = heading
        return entry

    NO_WORKER = "no-worker-answers", "No worker answers"
    WORKER_KILLED = "a-worker-was-killed", "A worker was killed"
    WATCHDOG_DEAD = "the-watchdog-is-dead", "The watchdog is dead"
    CLOCK_JUMPED = "the-clock-jumped", "The clock jumped"
    DATABASE_DOWN = (
        "the-database-is-down-or-was-restarted",
        "The database is down or was restarted",
    )
    MISSING = "an-environment-or-a-plan-is-missing", "An environment, or a plan, is missing"
    TRIGGER_DROPPED = (
        "a-trigger-or-the-schema-rollout-was-dropped",
        "A trigger, or the schema rollout, was dropped",
    )
    DRIFT = "the-schema-has-drifted", "The schema has drifted"
    CONSOLE_DOWN = "the-console-itself-is-down", "The console itself is down"
    LOCK = "a-lock-is-not-obtained", "A lock is not obtained"
    PHASE_FAILED = "a-phase-failed", "A phase failed"
    BUILD_FAILED = (
        "validate-or-an-index-build-failed",
        "VALIDATE or an index build failed",
    )
    BACKFILL_SLOW = "a-backfill-is-slow-or-stands-still", "A backfill is slow, or stands still"
    GUARDRAIL = "a-guardrail-is-breached", "A guardrail is breached"
    SMOKE_TEST = "a-smoke-test-failed", "A smoke test failed"
    QUARANTINE = "rows-are-in-quarantine", "Rows are in quarantine"
    MISMATCHES = "an-audit-found-mismatches", "An audit found mismatches"
    INCONCLUSIVE = "an-audit-is-inconclusive", "An audit is inconclusive"
    SNAPSHOT_FAILED = "a-snapshot-failed", "A snapshot failed"
    REHEARSAL_FAILED = "a-rehearsal-failed", "A rehearsal failed"
    DISK_FULL = "a-disk-is-full", "A disk is full"
    QUEUE_STUCK = "the-queue-is-stuck", "The queue is stuck"
    REDIS_LOST = "redis-is-lost", "Redis is lost"
    ROWS_DIFFER = "a-rollback-says-that-rows-differ", "A rollback says that rows differ"
    HALF_WAY = "a-rollback-stopped-half-way", "A rollback stopped half-way"
    LOG_BROKEN = "the-logs-verification-is-broken", "The log's verification is broken"
    PLAN_CHANGED = (
        "somebody-changed-the-plan-in-the-middle",
        "Somebody changed the plan in the middle",
    )

    @property
    def reference(self) -> str:
        """The entry as a sentence, for texts; pages make a link of it."""
        return f"Runbook: {self.heading}."

    @property
    def url(self) -> str:
        """Its address in the documents that ``DOCS_URL`` names; empty without any."""
        base = str(setting("DOCS_URL", ""))
        if not base.startswith(("https://", "http://")):
            return ""
        return f"{base.rstrip('/')}/runbook.html#{self.value}"


GATES = {
    gates.EarlierPhaseDone.name: Entry.PHASE_FAILED,
    gates.BackfillComplete.name: Entry.BACKFILL_SLOW,
    gates.AuditClean.name: Entry.MISMATCHES,
    gates.SnapshotVerified.name: Entry.SNAPSHOT_FAILED,
    gates.RehearsalPassed.name: Entry.REHEARSAL_FAILED,
    gates.NoDrift.name: Entry.DRIFT,
    gates.NoGuardrailHolds.name: Entry.GUARDRAIL,
    gates.FilesUnchanged.name: Entry.PLAN_CHANGED,
    gates.Soak.name: Entry.GUARDRAIL,
    gates.InBounds.name: Entry.GUARDRAIL,
    gates.ProbesPassed.name: Entry.SMOKE_TEST,
}
# They wait for people or a clock, and say themselves for what.
GATES_WITHOUT = frozenset(
    gate.name
    for gate in (
        *(gates.MappingReviewed, gates.ValuesDecided, gates.ChecklistComplete),
        *(gates.MaintenanceWindow, gates.NoLegacyReaders, gates.Approved),
    )
)
