"""What people read instead of stored keys: gates, checks, signals, categories, jobs and others.

The keys stay in CSV, JSON, metrics, addresses and the activity log. Events have their headlines in
``events``, states their badges in the console.
"""

from collections.abc import Mapping

from rollout.plan import plans

# Only those whose name does not say it: ``rollout.plan.gates`` has the names.
GATES = {
    "no drift": "No schema drift",
    "no rule holds": "No guardrail blocking",
    "latency and errors in bounds": "Latency and errors within limits",
    "flow probes passed": "Smoke tests passed",
    "maintenance window": "Maintenance window open",
    "approved": "Approved by a lead",
}
# The label of each, and what it means. Mildest first, as in ``rollout.engine.audit``.
CATEGORIES = {
    "both_null": ("Both empty", "No legacy value and no new value."),
    "ok": ("Exact", "Exact match."),
    "ok_normalized": ("Normalized", "Matches after normalizing white space and case."),
    "ok_mapped": ("Mapped", "Matches via the mapping."),
    "lossy": (
        "Other spelling back",
        "As the conversion says; going back would spell it otherwise, so the archive keeps it.",
    ),
    "unconvertible": (
        "Left empty",
        "The legacy value does not convert; the plan or people leave the new column empty.",
    ),
    "quarantined": ("Quarantined", "The function failed for this row; the row keeps its error."),
    "transient": ("In flight", "Mid-write during the audit; right when checked again."),
    "answer_differs": (
        "Answer differs",
        "The data matches, but legacy and new queries return different results.",
    ),
    "unmapped": ("Unmapped", "The legacy value has no lookup row yet."),
    "ambiguous": ("Ambiguous", "Equivalent legacy values map to different lookup rows."),
    "inactive": ("Retired lookup row", "Maps to a lookup row that is no longer in use."),
    "undecided": (
        "Undecided",
        "The value does not convert, or contradicts others of its key; nobody has decided yet.",
    ),
    "missing": ("New value missing", "The legacy value has a new value, but the column is empty."),
    "unexpected": ("No legacy value", "A new value without a legacy source."),
    "computed_differs": (
        "Derived value differs",
        "Not the value of the column's expression or function.",
    ),
    "wrong": ("Wrong lookup row", "Not the lookup row that the mapping names."),
    "orphan": ("Lookup row not found", "References a lookup row that does not exist."),
}
# Why a legacy value maps to its lookup row.
REASONS = {
    "exact": "Same as the lookup row",
    "trimmed": "Differs in white space",
    "case": "Differs in case",
    "synonym": "Synonym in the plan",
    "decided": "Reviewed",
    "no_value": "Reviewed: no value",
    "unmapped": "Not mapped",
    "blank": "Blank",
}
JOBS = {
    "fill": "Backfill",
    "compute": "Compute",
    "default": "Fill default",
    "task": "Task",
    "clear": "Clear new columns",
    "archive": "Archive legacy values",
    "restore": "Restore legacy values",
    "repair": "Repair",
    "proof": "Proof",
}
# What a press requests for the gates of a phase.
PREPARATIONS = {
    "run_smoke_tests": "run smoke tests",
    "take_snapshot": "take snapshot",
    "rehearse": "rehearse plan",
    "snapshot_and_rehearse": "take snapshot, then rehearse plan",
    "start_audit": "start full audit",
    "request_approval": "request approval",
}
# The engine's triggers, by their stage: the text of a trigger begins with it.
TRIGGERS = {
    "forward": "dual write, legacy columns lead",
    "reverse": "dual write, new columns lead",
    "frozen": "legacy-only writes rejected",
}
# Health signals, of a job and of a preflight. All of them: a name is a key of times throttled.
SIGNALS = {
    "application": "Application latency and errors",
    "commit latency": "Commit latency",
    "old transaction": "Long-running transactions",
    "lock waits": "Lock waits",
    "replication lag": "Replication lag",
    "WAL": "WAL archiving and retention",
    "vacuum against wraparound": "Anti-wraparound vacuum",
    "transaction ids": "Transaction ID age",
    "connections": "Connections in use",
}
# Preflight checks whose names do not say it: ``rollout.engine.preflight.probes`` has the names.
CHECKS = {
    "the database": "Database connection",
    "health": "Database health",
    "schema": "Schema drift",
    "writes": "Server accepts writes",
    "rights": "Privileges",
    "rules": "Rewrite rules",
    "encoding": "Database encoding",
    "free disk": "Free disk space",
    "ungranted locks": "Lock queue",
    "idle in transaction": "Sessions idle in transaction",
    "kinds of tables": "Table types",
    "types of legacy columns": "Legacy column types",
    "types without equality": "Column types without equality",
    "order of triggers": "Trigger order",
    "triggers of legacy columns": "Triggers on legacy columns",
    "triggers that can swallow updates": "Triggers that skip updates",
    "functions that name dropped columns": "Functions that use dropped columns",
    "lookup rows that legacy columns cannot hold": "Lookup rows that don't fit legacy columns",
    "texts too long for a lookup row": "Legacy values too long for a lookup row",
    "lookup rows that the lookup table refuses": "Lookup rows rejected by the lookup table",
    "lookup rows of new texts": "Lookup rows added by application writes",
    "expressions": "Expressions in later triggers",
}
ROLES = {"enforce": "Enforce and cut over"}
# What a guardrail does once it is breached, and what it is doing then.
ACTIONS = {
    "warn": ("warns", "Warning"),
    "throttle": ("throttles backfills", "Throttling backfills"),
    "pause": ("pauses the run", "Paused the run"),
    "hold": ("blocks the next phase", "Blocking the next phase"),
}
# Why shadow reads differed that are no mismatch; stands behind their number.
CAUSES = {
    "unfilled": "not backfilled yet",
    "mapped": "mapped to another name",
    "transient": "transient",
    "unstable": "by a non-deterministic legacy query",
}


def gate_label(name: str) -> str:
    return _label(GATES, name)


def category_label(name: str) -> str:
    return CATEGORIES[name][0] if name in CATEGORIES else _label({}, name)


def job_label(kind: str) -> str:
    return _label(JOBS, kind)


def reason_label(why: str) -> str:
    return _label(REASONS, why)


def preparation_label(action: str) -> str:
    return PREPARATIONS.get(action, action)


def signal_label(name: str) -> str:
    """Label of a health signal or a throttling guardrail."""
    if name.startswith("rule "):
        return f"Guardrail: {name.removeprefix('rule ')}"
    return _label(SIGNALS, name)


def check_label(name: str) -> str:
    """Label of a preflight check; some are health signals."""
    return CHECKS.get(name) or signal_label(name)


def plan_title(name: str) -> str:
    """A plan's title; its name once it is no longer in the project's code."""
    plan = plans.find(name)
    return name if plan is None else plan.title


def role_label(role: str) -> str:
    return _label(ROLES, role)


def trigger_label(text: str) -> str:
    """The text of a trigger for people: its stage, and whether it is off."""
    stage, _, state = text.rpartition(", ")
    label = TRIGGERS.get(stage, stage)
    return label if state == "enabled" else f"{label}, {state}"


def _label(labels: Mapping[str, str], key: str) -> str:
    """A label; of a key that this version does not know the key itself, put for people."""
    return labels.get(key) or f"{key[:1].upper()}{key[1:]}".replace("_", " ")
