"""What kind of news an entry of the log is, and how it is put."""

from rollout.models import LogEntry

KINDS = {
    "started": "A phase, rollback or repair starts or goes on",
    "finished": "A phase, rollback or repair is done",
    "failed": "Something fails or is cancelled, or its worker died",
    "paused": "A rule warns, slows down, pauses or holds",
    "mismatches": "An audit or a shadow read finds mismatches",
    "approval": "An approval or an override is wanted, given or refused",
    "other": "Everything else in the audit log",
}
USUAL = tuple(kind for kind in KINDS if kind != "other")
TEST = "test"
TEST_EVENT = "notification test"

_EVENTS = {
    **dict.fromkeys(("phase started", "rollback started", "repair started"), "started"),
    **dict.fromkeys(("resumed", "retried"), "started"),
    **dict.fromkeys(
        ("phase done", "rollback done", "repair done", "rolled back by hand"), "finished"
    ),
    **dict.fromkeys(("phase failed", "repair failed", "snapshot failed"), "failed"),
    **dict.fromkeys(("cancelled", "brought back", "scheduled start refused"), "failed"),
    **dict.fromkeys(("paused by rule", "held by rule", "throttled by rule"), "paused"),
    **dict.fromkeys(("rule broken", "rule kept again", "hold released"), "paused"),
    "shadow read differs": "mismatches",
    TEST_EVENT: TEST,
}


def kind_of(entry: LogEntry) -> str:
    """The kind of an entry. An event that nobody has thought of here is of the kind "other"."""
    if entry.event == "audit done":
        return "mismatches" if entry.data.get("status") == "mismatched" else "other"
    if any(word in entry.event for word in ("approv", "override")):
        return "approval"
    return _EVENTS.get(entry.event, "other")


def headline(entry: LogEntry) -> str:
    """Where and what, in a few words."""
    where = f"{entry.plan} in {entry.environment}: " if entry.plan else ""
    phase = f", phase {entry.phase}" if entry.phase is not None else ""
    return f"{where}{entry.event}{phase}"
