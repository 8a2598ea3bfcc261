"""A rollout's live schema, and whether it is what its plan expects: what gates ask for."""

import time
from typing import Any

import psycopg

from rollout.engine import catalog
from rollout.engine.target import Target, reason_of
from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import steps_done
from rollout.gates.registry import Answered, answers
from rollout.journal.environments import target_of
from rollout.models import PhaseRun, Rollout
from rollout.plan.catalog import Catalog
from rollout.plan.gates import Answer, NoDrift
from rollout.plan.plan import Plan

KEPT_SECONDS = 5.0
"""Pages ask every second: the answer to one of them serves the next ones too."""


SHOWN = 3


_kept: dict[tuple[Any, ...], tuple[float, Catalog | str]] = {}


def live(
    rollout: Rollout, plan: Plan, number: int, run: PhaseRun | None, steps_done: int | None = None
) -> Catalog | str:
    """The schema as it was seconds ago, read anew once the phase ``number`` goes on with ``run``;
    or why it is not known."""
    target = target_of(rollout.environment)
    key = (
        *(target.parameters.get(name) for name in ("host", "port", "dbname")),
        *(rollout.pk, plan.digest, number, steps_done),
        *((run.pk, run.state) if run else (None, None)),
    )
    now = time.monotonic()
    kept = _kept.get(key)
    if kept is None or now - kept[0] > KEPT_SECONDS:
        for old in [k for k, value in _kept.items() if now - value[0] > KEPT_SECONDS]:
            _kept.pop(old, None)
        _kept[key] = kept = (now, _look(target, plan))
    return kept[1]


def forget() -> None:
    """Let the next answer be read afresh."""
    _kept.clear()


def _look(target: Target, plan: Plan) -> Catalog | str:
    try:
        with target.connect() as connection:
            connection.execute("SET statement_timeout = '3s'")
            return catalog.read(connection, catalog.labels_of(plan))
    except psycopg.Error as error:
        return f"The live schema could not be read. {reason_of(error)}"


def answer(
    rollout: Rollout, plan: Plan, number: int, run: PhaseRun | None, *, steps_done: int | None
) -> tuple[Answer, str]:
    """Whether the schema is what the plan expects before a phase."""
    found = live(rollout, plan, number, run, steps_done)
    if isinstance(found, str):
        return "unknown", found
    drifts = catalog.compare(plan, phases_done=number, live=found, steps_done=steps_done)
    if not drifts:
        return "pass", f"{len(found.tables)} tables are as the plan expects before phase {number}."
    more = f"; and {len(drifts) - SHOWN} more" if len(drifts) > SHOWN else ""
    named = "; ".join(map(str, drifts[:SHOWN]))
    return "fail", f"The live schema differs: {named}{more}. Look at the schema page."


@answers(NoDrift)
def no_drift(gate: NoDrift, evidence: Evidence) -> Answered:
    return answer(
        evidence.rollout,
        evidence.plan,
        evidence.number,
        evidence.run,
        steps_done=steps_done(evidence.plan, evidence.run),
    )
