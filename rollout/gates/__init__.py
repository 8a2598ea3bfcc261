"""Answers a plan's gates, each with its evidence and the next thing to do.

A new gate is a class in ``rollout.plan.gates`` and, in a module of this package that is imported
below, a function ``@answers(TheGate)`` that reads what it needs from the ``Evidence``.
"""

from rollout.gates import (  # noqa: F401
    approvals,
    checklists,
    drift,
    guardrails,
    readers,
    rehearsals,
    runs,
    snapshots,
    sql_files,
)
from rollout.gates.cached_queries import forget
from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import (
    begun,
    is_done,
    is_untouched,
    newest_of,
    newest_of_each,
    newest_runs,
    newest_runs_and_repair,
    phases_done,
    steps_done,
)
from rollout.gates.registry import GateStatus, answer, answers_of, as_data

__all__ = [
    "Evidence",
    "GateStatus",
    "answer",
    "answers_of",
    "application",
    "as_data",
    "begun",
    "checklist",
    "files",
    "forget",
    "is_done",
    "is_untouched",
    "journal",
    "newest_of",
    "newest_of_each",
    "newest_runs",
    "newest_runs_and_repair",
    "phases_done",
    "readers",
    "rehearsal",
    "schema",
    "signing",
    "snapshot",
    "steps_done",
]
