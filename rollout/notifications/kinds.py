"""The kind and the headline of an entry of the activity log."""

from rollout.journal import events
from rollout.journal.events import Kind
from rollout.models import LogEntry

KINDS = {
    Kind.STARTED.value: "A phase, rollback or repair starts or resumes",
    Kind.FINISHED.value: "A phase, rollback or repair finishes",
    Kind.FAILED.value: "A run fails, is cancelled, or loses its worker",
    Kind.PAUSED.value: "A guardrail warns, throttles, pauses or blocks",
    Kind.MISMATCHES.value: "An audit or a shadow read finds mismatches",
    Kind.APPROVAL.value: "An approval or override is requested, repeated, granted or withdrawn",
    Kind.OTHER.value: "All other activity log entries",
}
# What people read for a kind whose key says something else: the pause of a person is not of it.
LABELS = {Kind.PAUSED.value: "guardrails"}
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind != Kind.OTHER)


def kind_of(entry: LogEntry) -> Kind:
    return events.kind_of(entry.event, audit_status=str(entry.data.get("status", "")))


def headline(entry: LogEntry) -> str:
    """Where and what, in a few words."""
    where = f"{entry.plan} in {entry.environment}: " if entry.plan else ""
    phase = f", phase {entry.phase}" if entry.phase is not None else ""
    return f"{where}{events.headline_of(entry.event)}{phase}"
