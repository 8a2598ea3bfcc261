"""Environments made from snapshots: a name for a new one, and dropping one."""

import re

import psycopg
from django.db.models import QuerySet

from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import (
    UnknownEnvironment,
    configured,
    target_of,
)
from rollout.journal.events import Event
from rollout.journal.rollouts import active_run, is_busy
from rollout.models import Environment, EnvironmentState, Rollout, Snapshot
from rollout.plan.names import identifier
from rollout.worker.databases import drop

USUAL_NAME = "staging"


_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def free_name(plan: str) -> str:
    """An unused name for a staging environment."""
    taken = {*configured(), *_there().values_list("name", flat=True)}
    of_plan = f"{USUAL_NAME}-{re.sub('[^a-z0-9]+', '-', plan.lower())}"[:36].strip("-")
    numbered = (f"{of_plan}-{number}" for number in range(2, 1000))
    return next(name for name in (USUAL_NAME, of_plan, *numbered) if name not in taken)


def asked_for(
    snapshot: Snapshot, name: str, purpose: str, actor: Actor, *, server: str = ""
) -> Environment:
    """Record an environment to create from a snapshot. Raises Refused."""
    origin = snapshot.rollout
    name = name.strip() or free_name(origin.plan)
    if not _NAME.fullmatch(name):
        raise Refused(
            f"Invalid name “{name}”. Use up to 40 characters (a–z, 0–9, hyphens), beginning with a "
            "letter."
        )
    if name in configured() or _there().filter(name=name).exists():
        raise Refused(f"Environment {name} already exists. Drop it, or choose another name.")
    made = Environment.objects.create(
        name=name,
        plan=origin.plan,
        purpose=purpose,
        beside=_server_of(origin),
        server=server,
        snapshot=snapshot,
        actor_name=actor.get_username(),
    )
    beside = str(target_of(made.beside).parameters["dbname"])
    made.database = identifier(beside[:30], name.replace("-", "_"), str(made.pk))
    made.save(update_fields=["database"])
    return made


def _server_of(origin: Rollout) -> str:
    """The configured environment on whose server a new one is created."""
    if origin.environment in configured():
        return origin.environment
    return str(_there().filter(name=origin.environment).values_list("beside", flat=True).get())


def drop_environment(made: Environment, *, actor: Actor, source: str = "web") -> None:
    """Drop an environment that was made from a snapshot. Raises Refused."""
    made.refresh_from_db()
    if made.state != EnvironmentState.READY:
        state = made.get_state_display().lower()
        raise Refused(f"Environment {made.name} cannot be dropped: its state is {state}.")
    rollout = Rollout.objects.filter(plan=made.plan, environment=made.name).first()
    active = active_run(rollout) if rollout else None
    if active is not None:
        raise Refused(is_busy(active))
    try:
        drop(made)
    except UnknownEnvironment as error:
        raise Refused(str(error)) from error
    except psycopg.Error as error:
        raise Refused(f"The database could not be dropped: {error}. Try again.") from error
    activity_log.record(
        Event.ENVIRONMENT_DROPPED,
        f"Dropped environment {made.name} and its database {made.database}.",
        on=rollout,
        actor=actor,
        source=source,
        environment=made.pk,
        database=made.database,
    )


def _there() -> QuerySet[Environment]:
    return Environment.objects.exclude(state=EnvironmentState.GONE)
