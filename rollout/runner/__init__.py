"""The runner: the only writer of a rollout's state."""

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
    "cancel",
    "pause",
    "resume",
    "retry",
    "retry_quarantined",
    "roll_back",
    "set_pace",
    "start",
    "start_audit",
    "unwaive",
    "waive",
    "why_not_audit",
]
