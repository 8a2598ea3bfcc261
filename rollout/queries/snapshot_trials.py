"""Whether a snapshot of a plan's tables could be verified: tried in phase 0."""

import time

import psycopg

from rollout.engine.control import Interrupted
from rollout.engine.preflight import Item
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.trial import try_out
from rollout.engine.target import Target, reason_of
from rollout.journal.environments import configured
from rollout.journal.snapshots import programs_for
from rollout.plan.gates import SnapshotVerified
from rollout.plan.plan import PREPARE, Plan

NAME = "trial of a snapshot"
# A trial creates and drops a database: too much for every view of a page.
KEPT_SECONDS = 600.0

_passed: dict[tuple[object, ...], float] = {}


def first_phase_with_snapshot(plan: Plan) -> int | None:
    """The first phase that requires a verified snapshot."""
    return next(
        (
            number
            for number in range(len(plan.phases))
            if any(isinstance(gate, SnapshotVerified) for gate in plan.gates_of(number))
        ),
        None,
    )


def items_of(target: Target, plan: Plan, environment: str, phase: int) -> list[Item]:
    """What a trial says, in phase 0 of a plan that needs a snapshot; not of what was made of one.

    Never raises for the database.
    """
    needed = first_phase_with_snapshot(plan)
    if phase != PREPARE or needed is None or environment not in configured():
        return []
    if time.monotonic() - _passed.get(_key(target, plan), -KEPT_SECONDS) < KEPT_SECONDS:
        return [Item(NAME, "pass", _GOOD, phase=PREPARE)]
    try:
        with target.connect() as connection:
            programs = programs_for(connection)
    except (SnapshotError, psycopg.Error) as error:
        # Workers take snapshots: their machines may have what this one lacks.
        return [_unknown(error)]
    try:
        try_out(target, plan, programs)
    except SnapshotError as error:
        evidence = f"No snapshot of {', '.join(t.label for t in plan.tables)} can be verified. "
        return [Item(NAME, "blocks", f"{evidence}{error}", error.advice, phase=needed)]
    except (Interrupted, psycopg.Error) as error:
        return [_unknown(error)]
    remember_success(target, plan)
    return [Item(NAME, "pass", _GOOD, phase=PREPARE)]


def remember_success(target: Target, plan: Plan) -> None:
    """Try out no snapshot of the plan's tables there for some minutes."""
    _passed[_key(target, plan)] = time.monotonic()


def _key(target: Target, plan: Plan) -> tuple[object, ...]:
    return (*(target.parameters.get(name) for name in ("host", "port", "dbname")), plan.digest)


_GOOD = "The tables and their dependencies can be recreated from a dump."


def _unknown(error: Exception) -> Item:
    text = reason_of(error) if isinstance(error, psycopg.Error) else str(error)
    advice = error.advice if isinstance(error, SnapshotError) else "Run again."
    return Item(NAME, "unknown", f"Could not be tested: {text}", advice, phase=PREPARE)
