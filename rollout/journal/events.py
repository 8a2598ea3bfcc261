"""What the audit log records: every event, how it is put, and the kind of news that it is.

The value of an event is what is stored: it is hashed, exported and counted in metrics, so that it
never changes. What people read is its headline.
"""

from enum import StrEnum


class Kind(StrEnum):
    """The kinds of news that somebody can choose to be told of."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    PAUSED = "paused"
    MISMATCHES = "mismatches"
    APPROVAL = "approval"
    OTHER = "other"
    # Nobody chooses it: it goes to the webhook that is tried.
    TEST = "test"


class Event(StrEnum):
    """One member for each event: value, headline, kind."""

    headline: str
    kind: Kind

    def __new__(cls, value: str, headline: str, kind: Kind = Kind.OTHER) -> "Event":
        event = str.__new__(cls, value)
        event._value_ = value
        event.headline, event.kind = headline, kind
        return event

    # Runs of phases and repairs.
    PHASE_STARTED = "phase started", "Phase started", Kind.STARTED
    PHASE_DONE = "phase done", "Phase done", Kind.FINISHED
    PHASE_FAILED = "phase failed", "Phase failed", Kind.FAILED
    ROLLBACK_STARTED = "rollback started", "Rollback started", Kind.STARTED
    ROLLBACK_DONE = "rollback done", "Phase rolled back", Kind.FINISHED
    ROLLBACK_FAILED = "rollback failed", "Rollback failed", Kind.FAILED
    ROLLED_BACK_BY_HAND = "rolled back by hand", "Phase rolled back by hand", Kind.FINISHED
    PHASE_ADOPTED = "phase adopted", "Phase recorded as done", Kind.FINISHED
    CHAIN_STARTED = "rollback chain started", "Rollback of several phases started", Kind.STARTED
    CHAIN_DONE = "rollback chain done", "Rollback of several phases done", Kind.FINISHED
    CHAIN_STOPPED = "rollback chain stopped", "Rollback of several phases stopped", Kind.FAILED
    CHAIN_CANCELLED = (
        "rollback chain cancelled",
        "Rollback of several phases cancelled",
        Kind.FAILED,
    )
    REPAIR_STARTED = "repair started", "Repair started", Kind.STARTED
    REPAIR_COUNTED = "repair counted", "Rows to repair counted"
    REPAIR_DONE = "repair done", "Repair done", Kind.FINISHED
    REPAIR_FAILED = "repair failed", "Repair failed", Kind.FAILED
    STEP_DONE = "step done", "Step completed"
    STEP_ROLLED_BACK = "step rolled back", "Step rolled back"
    BACKFILL_DONE = "backfill done", "Backfill job done"
    PAUSE_ASKED_FOR = "pause asked for", "Pause requested"
    PAUSED = "paused", "Paused"
    RESUMED = "resumed", "Resumed", Kind.STARTED
    CANCEL_ASKED_FOR = "cancel asked for", "Cancellation requested"
    CANCELLED = "cancelled", "Cancelled", Kind.FAILED
    RETRIED = "retried", "Retried", Kind.STARTED
    BROUGHT_BACK = "brought back", "Worker crashed, work recovered", Kind.FAILED
    START_SCHEDULED = "start scheduled", "Start scheduled"
    START_UNSCHEDULED = "start unscheduled", "Scheduled start cancelled", Kind.FAILED
    SCHEDULED_START_REFUSED = "scheduled start refused", "Scheduled start refused", Kind.FAILED
    PACE_CHANGED = "pace changed", "Throttle settings changed"
    QUARANTINE_RETRY = "quarantine retry", "Retry of quarantined rows requested"
    QUARANTINE_RETRIED = "quarantine retried", "Quarantined rows retried"
    ESTIMATE_ASKED_FOR = "estimate asked for", "Estimate requested"
    PROBES_ASKED_FOR = "probes asked for", "Smoke tests requested"
    # A person cancels a stranger's statement, so that the rollout continues.
    BLOCKER_CANCELLED = "blocker cancelled", "Blocking query cancelled"
    BLOCKER_ENDED = "blocker ended", "Blocking session terminated"
    EDITED_FILE_ACCEPTED = "edited file accepted", "Edited SQL file accepted"
    CSV_UPLOADED = "csv uploaded", "CSV file uploaded"
    CSV_REMOVED = "csv removed", "CSV file removed"

    CLOCK_JUMPED = "clock jumped", "Clock jumped", Kind.FAILED

    # Guardrails.
    RULE_BROKEN = "rule broken", "Guardrail breached", Kind.PAUSED
    RULE_KEPT_AGAIN = "rule kept again", "Guardrail OK again", Kind.PAUSED
    RULE_NOT_JUDGED = "rule not judged", "Guardrail could not be evaluated", Kind.FAILED
    PAUSED_BY_RULE = "paused by rule", "Paused by a guardrail", Kind.PAUSED
    HELD_BY_RULE = "held by rule", "Next phase blocked by a guardrail", Kind.PAUSED
    THROTTLED_BY_RULE = "throttled by rule", "Throttled by a guardrail", Kind.PAUSED
    HOLD_RELEASED = "hold released", "Hold released", Kind.PAUSED

    # Audits, findings and mapping.
    AUDIT_ASKED_FOR = "audit asked for", "Audit requested"
    # Its result determines its kind: see ``kind_of``.
    AUDIT_DONE = "audit done", "Audit done"
    MISMATCH_ACCEPTED = "mismatch accepted", "Mismatch waived"
    ACCEPTANCE_TAKEN_BACK = "acceptance taken back", "Waiver removed"
    MAPPING_REVIEWED = "mapping reviewed", "Mapping reviewed"
    VALUES_DECIDED = "values decided", "Values decided"
    SHADOW_SHARE_CHANGED = "shadow share changed", "Sample rate of shadow reads changed"
    SHADOW_READ_DIFFERS = "shadow read differs", "Shadow read differs", Kind.MISMATCHES

    # Snapshots, restores, environments, rehearsals.
    SNAPSHOT_ASKED_FOR = "snapshot asked for", "Snapshot requested"
    SNAPSHOT_TAKEN = "snapshot taken", "Snapshot taken"
    SNAPSHOT_VERIFIED = "snapshot verified", "Snapshot verified"
    SNAPSHOT_FAILED = "snapshot failed", "Snapshot failed", Kind.FAILED
    SNAPSHOT_CANCEL_ASKED_FOR = "snapshot cancel asked for", "Snapshot cancellation requested"
    SNAPSHOT_CANCELLED = "snapshot cancelled", "Snapshot cancelled", Kind.FAILED
    SNAPSHOT_DELETED = "snapshot deleted", "Snapshot deleted"
    VERIFICATION_ASKED_FOR = "verification asked for", "Verification requested"
    RESTORE_ASKED_FOR = "restore asked for", "Restore requested"
    RESTORE_APPROVED = "restore approved", "Restore approved", Kind.APPROVAL
    RESTORE_CANCEL_ASKED_FOR = "restore cancel asked for", "Restore cancellation requested"
    RESTORE_CANCELLED = "restore cancelled", "Restore cancelled", Kind.FAILED
    RESTORE_FAILED = "restore failed", "Restore failed", Kind.FAILED
    SNAPSHOT_RESTORED = "snapshot restored", "Snapshot restored"
    ENVIRONMENT_DROPPED = "environment dropped", "Environment dropped"
    REHEARSAL_REFUSED = "rehearsal refused", "Rehearsal refused", Kind.FAILED
    REHEARSAL_ASKED_FOR = "rehearsal asked for", "Rehearsal requested"
    REHEARSAL_CANCEL_ASKED_FOR = "rehearsal cancel asked for", "Rehearsal cancellation requested"
    REHEARSAL_CANCELLED = "rehearsal cancelled", "Rehearsal cancelled", Kind.FAILED
    REHEARSAL_FAILED = "rehearsal failed", "Rehearsal failed", Kind.FAILED
    REHEARSAL_PASSED = "rehearsal passed", "Rehearsal passed"

    # What people sign.
    APPROVAL_ASKED_FOR = "approval asked for", "Approval requested", Kind.APPROVAL
    APPROVAL_REMINDER = "approval reminder", "Approval reminder", Kind.APPROVAL
    APPROVED = "approved", "Approved", Kind.APPROVAL
    REJECTED = "approval rejected", "Approval rejected", Kind.APPROVAL
    REJECTION_WITHDRAWN = "rejection withdrawn", "Rejection withdrawn", Kind.APPROVAL
    APPROVAL_WITHDRAWN = "approval withdrawn", "Approval withdrawn", Kind.APPROVAL
    REQUEST_WITHDRAWN = (
        "request for approval withdrawn",
        "Approval request withdrawn",
        Kind.APPROVAL,
    )
    GATE_OVERRIDDEN = "gate overridden", "Gate overridden", Kind.APPROVAL
    OVERRIDE_CONFIRMED = "override confirmed", "Override confirmed", Kind.APPROVAL
    OVERRIDE_WITHDRAWN = "override withdrawn", "Override withdrawn", Kind.APPROVAL
    ITEM_TICKED = "item ticked", "Checklist item done"
    TICK_TAKEN_BACK = "tick taken back", "Checklist item reopened"

    LOG_BROKEN = "log broken", "Activity log tampered with", Kind.FAILED

    NOTIFICATIONS_CHOSEN = "notifications chosen", "Notification settings changed"
    NOTIFICATION_TEST = "notification test", "Notification test", Kind.TEST


# The first entry of a run, which stands for all of it in the list of activity.
OF_STARTS = (Event.PHASE_STARTED, Event.ROLLBACK_STARTED, Event.REPAIR_STARTED)
# What else happens to a run: the list shows it with the run.
OF_RUNS = (
    *(Event.STEP_DONE, Event.STEP_ROLLED_BACK, Event.BACKFILL_DONE),
    *(Event.PHASE_DONE, Event.PHASE_FAILED, Event.ROLLBACK_DONE, Event.ROLLBACK_FAILED),
    *(Event.REPAIR_COUNTED, Event.REPAIR_DONE, Event.REPAIR_FAILED),
    *(Event.PAUSE_ASKED_FOR, Event.PAUSED, Event.RESUMED, Event.RETRIED, Event.BROUGHT_BACK),
    *(Event.CANCEL_ASKED_FOR, Event.CANCELLED),
    # A throttle comes and goes by itself, often many times.
    *(Event.THROTTLED_BY_RULE, Event.RULE_KEPT_AGAIN),
)


def headline_of(event: str) -> str:
    """How an event that is stored is put for people."""
    known = _BY_VALUE.get(event)
    return known.headline if known else f"{event[:1].upper()}{event[1:]}"


def kind_of(event: str, *, audit_status: str = "") -> Kind:
    """The kind of an event that is stored; of an audit's end by its result."""
    known = _BY_VALUE.get(event)
    if known is Event.AUDIT_DONE:
        return _OF_AUDITS.get(audit_status, known.kind)
    return known.kind if known else Kind.OTHER


_BY_VALUE = {event.value: event for event in Event}
# An audit without a result has failed, no matter who requested it.
_OF_AUDITS = {"mismatched": Kind.MISMATCHES, "inconclusive": Kind.FAILED}
