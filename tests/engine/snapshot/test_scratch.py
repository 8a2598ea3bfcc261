"""Scratch databases: made like the one that was dumped, and gone afterwards."""

import io

import pytest
from psycopg import sql

from rollout.engine.snapshot import scratch
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.restore import verify
from rollout.engine.target import Connection, Target
from tests.engine.snapshot.taken_dumps import CONTROL, filled, scratch_databases, taken

pytestmark = pytest.mark.slow


def test_the_scratch_database_is_gone_afterwards_whatever_happened(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    with taken(target, plan) as (archive, recorded):
        torn = Archive(archive.programs, lambda: io.BytesIO(archive.opens().read(3000)), CONTROL)
        with pytest.raises(SnapshotError, match="pg_restore"):
            verify(target, plan, torn, recorded, CONTROL, snapshot=1, token=1)
    assert scratch_databases(connection, 1) == []


def test_databases_that_a_dead_worker_left_are_dropped_and_nothing_else(
    target: Target, connection: Connection
) -> None:
    prefix = scratch.prefix_of(connection, 1)
    other = scratch.prefix_of(connection, 11)
    for name in (f"{prefix}7", f"{other}7"):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with scratch.scratch_database(connection, target, 1, 8) as made:
        assert scratch_databases(connection, 1) == [made.parameters["dbname"]]
    assert scratch_databases(connection, 1) == []
    assert scratch_databases(connection, 11) == [f"{other}7"]
    scratch.drop_leftovers(connection, 11)


def test_a_role_that_may_not_create_databases_is_told_what_to_run(
    target: Target, connection: Connection
) -> None:
    connection.execute("DROP ROLE IF EXISTS modest; CREATE ROLE modest LOGIN")
    modest = Target({**target.parameters, "user": "modest"})
    with (
        modest.connect() as theirs,
        pytest.raises(SnapshotError, match="Role modest needs CREATEDB") as error,
        scratch.scratch_database(theirs, modest, 1, 1),
    ):
        pass
    assert "ALTER ROLE modest CREATEDB" in error.value.advice
    connection.execute("DROP ROLE modest")
