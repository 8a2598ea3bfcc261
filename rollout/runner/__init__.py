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
)

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
]
