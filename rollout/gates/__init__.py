"""Checks a plan's gates; each result comes with its evidence and the next thing to do.

A new gate is a class in ``rollout.plan.gates`` and, in a module of this package that is imported
below, a function ``@check(TheGate)`` that reads what it needs from the ``Evidence``.
"""

from rollout.gates import (
    approvals,
    checklists,
    drift,
    guardrails,
    mappings,
    readers,
    rehearsals,
    runs,
    snapshots,
    sql_files,
    value_decisions,
)
from rollout.gates.cached_queries import invalidate
from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import (
    is_done,
    is_not_started,
    newest_of_each,
    newest_runs,
    newest_runs_and_repair,
    phases_done,
    started_after,
    started_phases,
    steps_done,
)
from rollout.gates.registry import GateStatus, as_data, check_gate, check_gates
