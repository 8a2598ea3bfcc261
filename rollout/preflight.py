"""The preflight of a rollout's phase: for the page that asks, and for the start that insists."""

from typing import Any

from rollout import gates
from rollout.drift import patient_target
from rollout.engine import preflight
from rollout.engine.preflight import Item, LockForecast, Preflight
from rollout.models import Rollout
from rollout.plan import plans


def look_before(rollout: Rollout, phase: int) -> Preflight:
    """Look at everything that could go wrong with a phase, now."""
    plan = plans.get(rollout.plan)
    under_way = not gates.is_untouched(gates.newest_runs(rollout).get(phase))
    return preflight.look(patient_target(rollout), plan, phase, under_way=under_way)


def locks_of_rollback(rollout: Rollout, phase: int) -> list[LockForecast]:
    """The locks that the rollback of a phase takes. Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    return preflight.forecast_locks(patient_target(rollout), plan, phase, forward=False)


def as_data(found: Preflight) -> list[dict[str, Any]]:
    """What was found, for the log and for the shell: all that failed or is unknown in full."""
    return [_as_data(item) for item in found.items]


def _as_data(item: Item) -> dict[str, Any]:
    data: dict[str, Any] = {"name": item.name, "status": item.status, "blocks": item.refuses}
    return data if item.status == "pass" else {**data, "evidence": item.evidence}
