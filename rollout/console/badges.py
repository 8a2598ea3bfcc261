"""How a state looks: a word, a tone and a shape, so that color alone never carries a state."""

from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from rollout.models import (
    AuditStatus,
    DeliveryState,
    RehearsalState,
    RestoreState,
    RuleVerdict,
    RunState,
    SnapshotState,
)


class Badge(NamedTuple):
    """``tone`` is good, warn, bad, info or empty; ``icon`` names a symbol of ``icons.html``, or
    is empty. A ``hint`` explains what is a property, drawn square, instead of a state."""

    label: str
    tone: str
    icon: str
    hint: str = ""


_ICON = (
    '<svg class="icon icon-{}" viewBox="0 0 16 16" aria-hidden="true"><use href="#icon-{}"></use>'
    "</svg>"
)
# The state of a phase of which nothing remains: not started, or rolled back.
PENDING = "pending"

_CANCELLING = Badge("Cancelling", "warn", "cancelled")
_CANCELLED = Badge("Cancelled", "warn", "cancelled")
_FAILED = Badge("Failed", "bad", "failed")
_PASSED = Badge("Passed", "good", "done")
_OK = Badge("OK", "good", "done")
_DONE = Badge("Done", "good", "done")
_UNKNOWN = Badge("Unknown", "warn", "unknown")
# Kind to state to badge. The first three kinds are a run's directions, for phases, runs and steps.
BADGES: dict[str, dict[str, Badge]] = {
    "forward": {
        PENDING: Badge("Not started", "", "pending"),
        RunState.QUEUED: Badge("Queued", "info", "queued"),
        RunState.RUNNING: Badge("Running", "info", "running"),
        RunState.PAUSING: Badge("Pausing", "warn", "paused"),
        RunState.PAUSED: Badge("Paused", "warn", "paused"),
        RunState.CANCELLING: _CANCELLING,
        RunState.CANCELLED: _CANCELLED,
        RunState.FAILED: _FAILED,
        RunState.DONE: _DONE,
    },
    "backward": {
        PENDING: Badge("Rolled back", "", "back"),
        RunState.QUEUED: Badge("Rollback queued", "info", "queued"),
        RunState.RUNNING: Badge("Rolling back", "info", "running"),
        RunState.PAUSING: Badge("Pausing rollback", "warn", "paused"),
        RunState.PAUSED: Badge("Rollback paused", "warn", "paused"),
        RunState.CANCELLING: Badge("Cancelling rollback", "warn", "cancelled"),
        RunState.CANCELLED: Badge("Rollback cancelled", "warn", "cancelled"),
        RunState.FAILED: Badge("Rollback failed", "bad", "failed"),
        RunState.DONE: Badge("Rolled back", "", "back"),
    },
    "repair": {
        RunState.QUEUED: Badge("Repair queued", "info", "queued"),
        RunState.RUNNING: Badge("Repairing", "info", "running"),
        RunState.PAUSING: Badge("Pausing repair", "warn", "paused"),
        RunState.PAUSED: Badge("Repair paused", "warn", "paused"),
        RunState.CANCELLING: Badge("Cancelling repair", "warn", "cancelled"),
        RunState.CANCELLED: Badge("Repair cancelled", "warn", "cancelled"),
        RunState.FAILED: Badge("Repair failed", "bad", "failed"),
        RunState.DONE: Badge("Repaired", "good", "done"),
    },
    # A step that a health signal holds runs no more than one of a paused run.
    "step": {"held": Badge("Paused by signal", "warn", "paused")},
    "audit": {
        AuditStatus.RUNNING: Badge("Running", "info", "running"),
        AuditStatus.CLEAN: Badge("Clean", "good", "done"),
        AuditStatus.MISMATCHED: Badge("Mismatched", "bad", "failed"),
        AuditStatus.INCONCLUSIVE: Badge("Inconclusive", "warn", "unknown"),
    },
    "snapshot": {
        SnapshotState.TAKING: Badge("Taking", "info", "running"),
        SnapshotState.TAKEN: Badge("Taken", "info", "queued"),
        SnapshotState.VERIFYING: Badge("Verifying", "info", "running"),
        SnapshotState.VERIFIED: Badge("Verified", "good", "done"),
        SnapshotState.CANCELLING: _CANCELLING,
        SnapshotState.CANCELLED: _CANCELLED,
        SnapshotState.FAILED: _FAILED,
        SnapshotState.DELETED: Badge("Deleted", "", "cancelled"),
    },
    "rehearsal": {
        RehearsalState.MAKING: Badge("Creating database", "info", "running"),
        RehearsalState.RUNNING: Badge("Rehearsing", "info", "running"),
        RehearsalState.COMPARING: Badge("Comparing", "info", "running"),
        RehearsalState.CANCELLING: _CANCELLING,
        RehearsalState.PASSED: _PASSED,
        RehearsalState.FAILED: _FAILED,
        RehearsalState.CANCELLED: _CANCELLED,
    },
    "restore": {
        RestoreState.WAITING: Badge("Awaiting approval", "warn", "paused"),
        RestoreState.RUNNING: Badge("Restoring", "info", "running"),
        RestoreState.CANCELLING: _CANCELLING,
        RestoreState.DONE: Badge("Restored", "good", "done"),
        RestoreState.FAILED: _FAILED,
        RestoreState.CANCELLED: _CANCELLED,
    },
    "gate": {
        "pass": _PASSED,
        "fail": _FAILED,
        "pending": Badge("Pending", "", "queued"),
        "unknown": _UNKNOWN,
        "overridden": Badge("Overridden", "warn", "warning"),
        "approved": Badge("Approved", "good", "done"),
    },
    # Items of the checklist.
    "item": {
        "pass": _DONE,
        "fail": _FAILED,
        "pending": Badge("Open", "", "queued"),
        "unknown": _UNKNOWN,
    },
    "preflight": {
        "blocks": Badge("Blocks", "bad", "failed"),
        "warns": Badge("Warns", "warn", "warning"),
        "unknown": _UNKNOWN,
        "info": Badge("Info", "info", "queued"),
        "pass": _PASSED,
    },
    "rollout": {
        "complete": Badge("Complete", "good", "done"),
        "between": Badge("No phase running", "", "pending"),
    },
    "rerun": {
        "applied": Badge("Applied", "good", "done"),
        "looks": Badge("No change", "good", "done"),
        "changed": Badge("Changed", "bad", "failed"),
        "unknown": Badge("Unknown", "warn", "warning"),
    },
    "signal": {
        "ok": _OK,
        "throttle": Badge("Throttling", "warn", "warning"),
        "stop": Badge("Paused by signal", "bad", "failed"),
        "unknown": Badge("Unknown", "", "unknown"),
        "none": Badge("No data", "", ""),
    },
    # Of a phase or a step: how far there is no way back.
    "level": {
        "destructive": Badge("Destructive", "bad", "warning", "Removes columns, rows or indexes"),
        "restrictive": Badge(
            "Restrictive", "warn", "lock", "The database refuses writes that it allowed before"
        ),
    },
    # What the application's latency and errors came to, against the baseline.
    "comparison": {
        "ok": Badge("No regression", "good", "done"),
        "throttle": Badge("Slower", "warn", "failed"),
        "stop": Badge("Failing", "bad", "failed"),
        "recovered": Badge("Recovered", "info", "done"),
        "unknown": Badge("Too few calls", "", "unknown"),
    },
    "guardrail": {
        RuleVerdict.KEPT: _OK,
        "recovering": Badge("Recovering", "info", "queued"),
        "worsening": Badge("Worsening", "bad", "failed"),
        RuleVerdict.BROKEN: Badge("Breached", "bad", "failed"),
        RuleVerdict.INCONCLUSIVE: Badge("Inconclusive", "", "unknown"),
        RuleVerdict.ERROR: Badge("Not evaluated", "warn", "warning"),
    },
    "delivery": {
        DeliveryState.WAITING: Badge("Waiting", "info", "queued"),
        "retrying": Badge("Retrying", "warn", "queued"),
        DeliveryState.DELIVERED: Badge("Delivered", "good", "done"),
        DeliveryState.FAILED: _FAILED,
    },
    # What is being made at this moment.
    "activity": {
        "creating": Badge("Creating", "info", ""),
        "estimating": Badge("Estimating", "info", "running"),
        "retrying": Badge("Retrying", "info", "running"),
    },
    "approval": {
        "rejected": Badge("Rejected", "bad", "failed"),
        "valid": Badge("Valid until", "good", "done"),
        "void": Badge("Invalid", "", ""),
    },
    "override": {
        "waits": Badge("Awaiting second lead", "warn", ""),
        "used": Badge("Used", "", ""),
        "void": Badge("Inactive", "", ""),
        "active": Badge("Active until", "warn", ""),
    },
    # What a translation's rows, a traffic's calls and a rehearsal's end came to.
    "translation": {
        "clean": Badge("No mismatch", "good", "done"),
        "mismatched": Badge("mismatched", "bad", "failed"),
    },
    "traffic": {"failed": Badge("failed", "bad", "")},
    "round_trip": {
        "clean": Badge("Yes", "good", "done"),
        "differs": Badge("No", "bad", "failed"),
    },
    "entry": {
        "intact": Badge("Matches the content", "good", "done"),
        "changed": Badge("Content was changed", "bad", "failed"),
    },
    "value": {"new": Badge("New", "warn", "")},
    "types": {
        "pending": Badge("Update before phase 4", "info", "queued"),
        "fail": Badge("Out of date", "warn", "warning"),
        "unknown": _UNKNOWN,
    },
    # Of a table of two schemas.
    "schema": {
        "missing": Badge("Missing", "bad", ""),
        "only": Badge("Only in", "bad", ""),
        "unexpected": Badge("Not expected", "bad", ""),
        "differs": Badge("Differs", "bad", ""),
    },
    # Whether a rollout's data is safe.
    "data": {
        "untouched": Badge("Untouched", "good", "done"),
        "restored": Badge("Restored, verified", "good", "done"),
        "safe": Badge("Verified", "good", "done"),
        "archived": Badge("Verified by archive", "good", "done"),
        # All rows were right; something has changed since.
        "due": Badge("Audit due", "info", "queued"),
        "unproven": Badge("Not verified", "warn", "unknown"),
        "mismatched": Badge("Mismatches", "bad", "failed"),
    },
    "health": {
        "good": Badge("Healthy", "good", "done"),
        # What heals itself: nobody has to act, and yet all is not well.
        "info": Badge("Degraded", "warn", "warning"),
        "warn": Badge("Warning", "warn", "warning"),
        "bad": Badge("Action needed", "bad", "failed"),
    },
}


def badge(kind: str, state: str, *, before: str = "", after: str = "") -> SafeString:
    """The badge of a state, ``BADGES[kind][state]``, as HTML; more words stand beside its label."""
    known = BADGES[kind][state]
    words = ((word,) for word in (before, known.label, after) if word)
    return _drawn("badge", known, format_html_join(" ", "{}", words))


def shape(kind: str, state: str) -> SafeString:
    """The icon alone, where the label stands next to it."""
    return _drawn("shape", BADGES[kind][state], "")


def badge_label(kind: str, state: str) -> str:
    return BADGES[kind][state].label


def labels_of(kind: str) -> list[tuple[str, str]]:
    """The states of a kind with their labels, as choices of a field."""
    return [(str(state), badge.label) for state, badge in BADGES[kind].items()]


def _drawn(classes: str, badge: Badge, words: str) -> SafeString:
    icon = format_html(_ICON, badge.icon, badge.icon) if badge.icon else ""
    tone = f" tone-{badge.tone}" if badge.tone else ""
    hint = format_html(' title="{}"', badge.hint) if badge.hint else ""
    square = " square" if hint else ""
    return format_html(
        '<span class="{}{}{}"{}>{}{}</span>', classes, square, tone, hint, icon, words
    )
