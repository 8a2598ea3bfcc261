"""The kind and the headline of an entry of the activity log."""

from rollout.journal import events
from rollout.journal.events import Kind
from rollout.models import LogEntry

KINDS = {
    Kind.STARTED.value: "A phase, rollback or repair starts or goes on",
    Kind.FINISHED.value: "A phase, rollback or repair is done",
    Kind.FAILED.value: "Something fails or is cancelled, or its worker died",
    Kind.PAUSED.value: "A rule warns, slows down, pauses or holds",
    Kind.MISMATCHES.value: "An audit or a shadow read finds mismatches",
    Kind.APPROVAL.value: "An approval or an override is wanted, given or refused",
    Kind.OTHER.value: "Everything else in the audit log",
}
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind != Kind.OTHER)


def kind_of(entry: LogEntry) -> Kind:
    return events.kind_of(entry.event, audit_status=str(entry.data.get("status", "")))


def headline(entry: LogEntry) -> str:
    """Where and what, in a few words."""
    where = f"{entry.plan} in {entry.environment}: " if entry.plan else ""
    phase = f", phase {entry.phase}" if entry.phase is not None else ""
    return f"{where}{events.headline_of(entry.event)}{phase}"
