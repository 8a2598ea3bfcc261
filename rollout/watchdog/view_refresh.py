"""Refreshes the materialized views of a plan whose phase is done."""

import logging
import time

from psycopg import errors

from rollout import gates, queue
from rollout.engine.target import TargetAway, fetch_bool
from rollout.journal.environments import names_there, target_of
from rollout.models import Rollout
from rollout.plan import CreateMaterializedView, facts, plans
from rollout.watchdog.isolation import isolated

logger = logging.getLogger(__name__)


def views_in_use(rollout: Rollout) -> list[CreateMaterializedView]:
    """The views of a rollout that are there and that the plan wants refreshed."""
    views = [
        (number, step)
        for plan in plans
        if plan.name == rollout.plan
        for number, phase in enumerate(plan.phases)
        for step in phase.steps
        if isinstance(step, CreateMaterializedView) and step.refresh_every is not None
    ]
    runs = gates.newest_runs(rollout) if views else {}
    return [step for number, step in views if gates.is_done(runs.get(number))]


def refresh(rollout_id: int, step_id: str) -> None:
    """Refresh a view, unless its phase has been rolled back meanwhile; that calls it off, too."""
    rollout = Rollout.objects.get(pk=rollout_id)
    for step in views_in_use(rollout):
        if step.id == step_id:
            try:
                with target_of(rollout.environment).connect() as connection:
                    if fetch_bool(connection, facts.relation_exists(step.identifier)):
                        connection.execute(step.refresh.sql)
            except errors.QueryCanceled:
                logger.info("Refresh of %s cancelled.", step.label)
            except TargetAway as error:
                logger.warning("%s was not refreshed: %s", step.label, error)


class ViewRefresher:
    """Queues the refreshes that are due. A new process refreshes every view once."""

    def __init__(self) -> None:
        self._due: dict[tuple[int, str], float] = {}

    def send_due(self) -> None:
        """Queue the refresh of every view whose interval has passed."""
        now = time.monotonic()
        for rollout in Rollout.objects.filter(environment__in=names_there()):
            with isolated(f"The view refreshes of {rollout}"):
                self._send(rollout, now)

    def _send(self, rollout: Rollout, now: float) -> None:
        for step in views_in_use(rollout):
            assert step.refresh_every is not None
            key = (rollout.pk, step.id)
            if now >= self._due.get(key, now):
                self._due[key] = now + step.refresh_every.total_seconds()
                queue.send_while_fresh("refresh_view", rollout.pk, step.id)
