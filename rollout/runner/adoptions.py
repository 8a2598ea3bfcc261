"""Records phases as done in a database that has their schema already."""

from rollout import gates
from rollout.engine import catalog, schema_stages
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.recorded_runs import record_run
from rollout.journal.rollouts import alone_with, plan_of
from rollout.logs.texts import listed
from rollout.models import Direction, PhaseRun, Rollout
from rollout.plan.plan import Plan

MAX_NAMED = 3


def adopt(rollout: Rollout, phase: int, *, actor: Actor, source: str = "shell") -> list[PhaseRun]:
    """Record that a database has the schema of a phase, and so of every phase before it.

    A new region, a laptop, a database that migrations made. Raises Refused unless the target is as
    the plan expects after that phase, and if a phase has started here.
    """
    plan = plan_of(rollout)
    with target_of(rollout.environment).connect() as connection:
        live = catalog.read(connection, catalog.labels_of(plan))
        live.has_engine = True
        drifts = catalog.compare(plan, phases_done=phase + 1, live=live)
        if drifts:
            raise Refused(
                f"The database does not have the schema after phase {phase}: "
                f"{listed([str(drift) for drift in drifts], MAX_NAMED)}. Name the phase whose "
                f"schema it has; manage.py rollout introspect {plan.name} compares them."
            )
        with alone_with(rollout):
            if gates.started_phases(gates.newest_runs(rollout)):
                raise Refused(
                    f"Phases of {plan.name} have started in {rollout.environment}. A database is "
                    "adopted before phase 0."
                )
            schema_stages.adopt(connection, plan, phase)
            return [_record(rollout, plan, number, actor, source) for number in range(phase + 1)]


def _record(rollout: Rollout, plan: Plan, phase: int, actor: Actor, source: str) -> PhaseRun:
    run = record_run(
        rollout,
        phase,
        Direction.FORWARD,
        steps=plan.phases[phase].steps,
        result=lambda step: "The database had the schema already.",
        actor_name=actor.get_username(),
        source=source,
        plan_digest=plan.digest,
    )
    activity_log.record(
        Event.PHASE_ADOPTED,
        f"{run.title} was not run: the database has its schema already.",
        on=run,
        actor=run.actor_name,
        source=source,
        plan_digest=plan.digest,
    )
    return run
