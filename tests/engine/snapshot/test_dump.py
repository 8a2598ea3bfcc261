"""A dump holds its moment, or says why it cannot be taken."""

import io

import pytest

from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.dump import dump, exported, prerequisites
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.programs import find_programs
from rollout.engine.snapshot.restore import Recorded, verify
from rollout.engine.target import Connection, Target
from tests.engine.snapshot.taken_dumps import CONTROL, ROWS, filled

pytestmark = pytest.mark.slow


def test_writes_after_the_moment_of_a_dump_are_not_in_it(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    with target.connect() as other, exported(other, plan, CONTROL) as export:
        connection.execute("INSERT INTO things (id, kind, state) VALUES (1000, 'Castle', 'new')")
        connection.execute("DELETE FROM things WHERE id < 10")
        whole = b"".join(dump(find_programs(18), target, export, CONTROL))
        needed = prerequisites(find_programs(18), target, export, CONTROL)
    archive = Archive(find_programs(18), lambda: io.BytesIO(whole), CONTROL)
    recorded = Recorded(export.contents, needed, export.left_out)
    verification = verify(target, plan, archive, recorded, CONTROL, snapshot=1, token=1)
    assert verification.differences == []
    assert verification.contents.counts["things"] == ROWS


def test_a_role_that_may_not_read_the_tables_is_told_so(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    connection.execute("DROP ROLE IF EXISTS modest_reader; CREATE ROLE modest_reader LOGIN")
    modest = Target({**target.parameters, "user": "modest_reader"})
    try:
        with (
            target.connect() as other,
            exported(other, plan, CONTROL) as export,
            pytest.raises(SnapshotError, match="pg_dump: permission denied") as error,
        ):
            b"".join(dump(find_programs(18), modest, export, CONTROL))
        assert "grant it SELECT" in error.value.advice
    finally:
        connection.execute("DROP ROLE modest_reader")
