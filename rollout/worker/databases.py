"""Creates databases for made environments, and drops them."""

from django.utils import timezone
from psycopg import errors

from rollout.engine.snapshot import scratch
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.target import Target
from rollout.journal.environments import (
    target_beside,
    target_of,
    target_of_made,
)
from rollout.models import Environment, EnvironmentState


def make(made: Environment) -> Target:
    """Create its empty database, after dropping what a crashed worker left.

    Raises SnapshotError and psycopg.Error.
    """
    with target_of(made.beside).connect() as connection:
        statement = scratch.creation(connection, made.database)
    with target_beside(made).connect() as connection:
        scratch.drop(connection, made.database)
        try:
            scratch.create(connection, statement)
        except (errors.InvalidParameterValue, errors.WrongObjectType) as error:
            raise SnapshotError(
                f"The server {made.server or connection.info.host} cannot create a database with "
                f"the encoding and collation of {made.beside}: {str(error).strip()}",
                "Install the same locales on that server, or name another.",
            ) from error
    return target_of_made(made)


def is_ready(made: Environment) -> None:
    """Mark it as ready for use."""
    made.state, made.ready_at = EnvironmentState.READY, timezone.now()
    made.save(update_fields=["state", "ready_at"])


def drop(made: Environment) -> None:
    """Drop its database, also with sessions in it; its record stays. Raises psycopg.Error."""
    with target_beside(made).connect() as connection:
        scratch.drop(connection, made.database)
    made.state, made.gone_at = EnvironmentState.GONE, timezone.now()
    made.save(update_fields=["state", "gone_at"])
