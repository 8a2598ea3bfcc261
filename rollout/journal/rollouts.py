"""A rollout's plan, its active run, and the lock under which verbs act on it."""

from collections.abc import Iterator
from contextlib import contextmanager

from rollout import journal
from rollout.engine.target import TargetAway
from rollout.journal.actors import Refused
from rollout.journal.environments import target_of
from rollout.models import (
    ACTIVE,
    RESTORE_WORKING,
    PhaseRun,
    Restore,
    Rollout,
    RunState,
)
from rollout.plan import plans
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.registry import UnknownPlan


def plan_of(rollout: Rollout) -> Plan:
    """The plan of a rollout. Raises UnknownPlan."""
    return plans.get(rollout.plan)


def no_phase(number: int) -> str:
    return f"There is no phase {number}: phases are 0 to {CONTRACT}."


def refuse_out_of_reach(rollout: Rollout) -> None:
    """Raises Refused if a rollout's plan or database is away: no worker could do the work."""
    try:
        plan_of(rollout)
        with target_of(rollout.environment).connect_briefly():
            pass
    except (UnknownPlan, TargetAway) as error:
        raise Refused(f"Nothing was done. {error}") from error


@contextmanager
def alone_with(rollout: Rollout) -> Iterator[None]:
    """A transaction in which no other verb acts on the rollout."""
    with journal.atomic():
        with journal.connection().cursor() as cursor:
            # A machine that is cut off meanwhile keeps nobody waiting for long.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '30s'")
        Rollout.objects.select_for_update(no_key=True).get(pk=rollout.pk)
        yield


def active_run(rollout: Rollout) -> PhaseRun | None:
    return PhaseRun.objects.filter(rollout=rollout, state__in=ACTIVE).first()


def refusal_beside_restore(rollout: Rollout) -> str:
    """Why no phase can run while a snapshot is being restored there; empty if none is."""
    restore = Restore.objects.filter(rollout=rollout, state__in=RESTORE_WORKING).first()
    if restore is None:
        return ""
    return (
        f"{restore.actor_name} is restoring snapshot {restore.snapshot_id} here. Wait for it to "
        "end, or cancel it."
    )


def is_busy(active: PhaseRun) -> str:
    advice = {
        RunState.PAUSED: "Resume or cancel it first",
        RunState.CANCELLING: "Wait for it to stop",
    }.get(
        RunState(active.state),
        "Wait for it to end, or cancel it" if active.active else "Reload the page",
    )
    return f"{active.actor_name}'s {active.name} is {active.get_state_display().lower()}. {advice}."
