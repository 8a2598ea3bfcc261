"""Makes databases for environments beside that of another, and drops them."""

import re

import psycopg
from django.db.models import QuerySet
from django.utils import timezone
from psycopg import errors

from rollout import log
from rollout.engine.snapshot import scratch
from rollout.engine.snapshot.problem import SnapshotError
from rollout.engine.target import Target
from rollout.environments import (
    UnknownEnvironment,
    configured,
    target_beside,
    target_of,
    target_of_made,
)
from rollout.events import Event
from rollout.models import Environment, EnvironmentState, Rollout, Snapshot
from rollout.plan.names import identifier
from rollout.runner.verbs import Actor, Refused, active_run, is_busy

USUAL_NAME = "staging"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def free_name(plan: str) -> str:
    """A name for a staging environment that nothing bears yet."""
    taken = {*configured(), *_there().values_list("name", flat=True)}
    of_plan = f"{USUAL_NAME}-{re.sub('[^a-z0-9]+', '-', plan.lower())}"[:36].strip("-")
    numbered = (f"{of_plan}-{number}" for number in range(2, 1000))
    return next(name for name in (USUAL_NAME, of_plan, *numbered) if name not in taken)


def asked_for(
    snapshot: Snapshot, name: str, purpose: str, actor: Actor, *, server: str = ""
) -> Environment:
    """Write down an environment that is to be made from a snapshot. Raises Refused."""
    origin = snapshot.rollout
    name = name.strip() or free_name(origin.plan)
    if not _NAME.fullmatch(name):
        raise Refused(
            f"An environment's name begins with a letter, and has up to 40 of a-z, 0-9 and "
            f"hyphens: “{name}” will not do."
        )
    if name in configured() or _there().filter(name=name).exists():
        raise Refused(f"There is an environment {name} already. Drop it first, or name another.")
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
    """The environment on whose server a new one is made: one that the project names."""
    if origin.environment in configured():
        return origin.environment
    return str(_there().filter(name=origin.environment).values_list("beside", flat=True).get())


def make(made: Environment) -> Target:
    """Make its database, empty; what a worker that died has left goes first.

    Raises SnapshotError and psycopg.Error.
    """
    with target_of(made.beside).connect() as connection:
        statement = scratch.creation(connection, made.database)
    with target_beside(made).connect() as connection:
        scratch.drop(connection, made.database)
        try:
            connection.execute(statement)
        except (errors.InvalidParameterValue, errors.WrongObjectType) as error:
            raise SnapshotError(
                f"The server {made.server or connection.info.host} cannot make a database with the "
                f"encoding and sort order of {made.beside}: {str(error).strip()}",
                "Give that server the same locales, or name another.",
            ) from error
        except errors.InsufficientPrivilege as error:
            raise SnapshotError(
                f"The role {connection.info.user} may not create a database.",
                f"Run ALTER ROLE {connection.info.user} CREATEDB as a superuser, then try again.",
            ) from error
    return target_of_made(made)


def is_ready(made: Environment) -> None:
    """From now on it is an environment like others."""
    made.state, made.ready_at = EnvironmentState.READY, timezone.now()
    made.save(update_fields=["state", "ready_at"])


def drop(made: Environment) -> None:
    """Drop its database, whoever is in it; the journal remembers it. Raises psycopg.Error."""
    with target_beside(made).connect() as connection:
        scratch.drop(connection, made.database)
    made.state, made.gone_at = EnvironmentState.GONE, timezone.now()
    made.save(update_fields=["state", "gone_at"])


def drop_environment(made: Environment, *, actor: Actor, source: str = "web") -> None:
    """Drop an environment that was made from a snapshot. Raises Refused."""
    made.refresh_from_db()
    if made.state != EnvironmentState.READY:
        raise Refused(f"{made.name} is {made.get_state_display().lower()}: nothing is to drop.")
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
    log.record(
        Event.ENVIRONMENT_DROPPED,
        f"Dropped {made.name} and its database {made.database}.",
        actor=actor.get_username(),
        source=source,
        rollout=rollout,
        data={"environment": made.pk, "database": made.database},
    )


def _there() -> QuerySet[Environment]:
    return Environment.objects.exclude(state=EnvironmentState.GONE)
