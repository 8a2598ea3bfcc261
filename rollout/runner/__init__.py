"""The runner: the only writer of a rollout's state."""

from rollout.runner.blockers import end_blocker, held_up, why_not_end
from rollout.runner.mappings import (
    ReviewPreview,
    preview_review,
    review_mapping,
    why_not_review,
)
from rollout.runner.recognising import recognise
from rollout.runner.repairs import (
    RepairPreview,
    correct,
    preview_correction,
    preview_repair,
    repair,
)
from rollout.runner.restoring import restore_snapshot
from rollout.runner.rules import release
from rollout.runner.snapshots import delete_snapshot, take_snapshot, verify_snapshot
from rollout.runner.verbs import (
    Refused,
    cancel,
    pause,
    resume,
    retry,
    retry_quarantined,
    roll_back,
    set_pace,
    start,
    start_audit,
    why_not_audit,
)
from rollout.runner.waivers import unwaive, waive

__all__ = [
    "Refused",
    "RepairPreview",
    "ReviewPreview",
    "cancel",
    "correct",
    "delete_snapshot",
    "end_blocker",
    "held_up",
    "pause",
    "preview_correction",
    "preview_repair",
    "preview_review",
    "recognise",
    "release",
    "repair",
    "restore_snapshot",
    "resume",
    "retry",
    "retry_quarantined",
    "review_mapping",
    "roll_back",
    "set_pace",
    "start",
    "start_audit",
    "take_snapshot",
    "unwaive",
    "verify_snapshot",
    "waive",
    "why_not_audit",
    "why_not_end",
    "why_not_review",
]
