"""Indexes of a partitioned table, built and dropped partition by partition."""

from rollout.engine.target import Connection, Target
from rollout.plan.plan import Actions
from tests.engine.actions import act
from tests.engine.test_lanes_partitions import INDEX, PLAN, start


def carry(target: Target, connection: Connection, actions: Actions) -> list[bool]:
    return [act(target, connection, PLAN, 4, action) for action in actions]


def indexes_of(connection: Connection) -> dict[str, bool]:
    """The indexes on kind, and whether each is valid."""
    rows = connection.execute(
        "SELECT c.relname, x.indisvalid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid"
        " WHERE c.relname LIKE 'things_by_kind%' ORDER BY 1"
    )
    return dict(rows.fetchall())


BUILT = {"things_by_kind": True, "things_by_kind_early": True, "things_by_kind_late": True}


def test_an_index_is_built_partition_by_partition_and_goes_with_all_of_them(
    target: Target, connection: Connection
) -> None:
    start(target, connection)
    carry(target, connection, INDEX.forward(PLAN))
    assert indexes_of(connection) == BUILT
    assert not any(carry(target, connection, INDEX.forward(PLAN))), "it is there"
    carry(target, connection, INDEX.backward(PLAN))
    assert indexes_of(connection) == {}
    assert not any(carry(target, connection, INDEX.backward(PLAN)))


def test_an_index_left_on_a_partition_is_cleared_and_built_again(
    target: Target, connection: Connection
) -> None:
    start(target, connection)
    parents, _clear, build, _attach = INDEX.forward(PLAN)
    for action in (parents, build):
        act(target, connection, PLAN, 4, action)
    # As CREATE INDEX CONCURRENTLY leaves it when it is cut off.
    connection.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'parted.things_by_kind_early'::regclass"
    )
    assert indexes_of(connection)["things_by_kind"] is False
    carry(target, connection, INDEX.forward(PLAN))
    assert indexes_of(connection) == BUILT


def test_a_build_that_stopped_half_way_is_taken_back(
    target: Target, connection: Connection
) -> None:
    start(target, connection)
    for action in INDEX.forward(PLAN)[:3]:
        act(target, connection, PLAN, 4, action)
    carry(target, connection, INDEX.backward(PLAN))
    assert indexes_of(connection) == {}


def test_partitions_of_partitions_and_those_made_meanwhile_have_it_too(
    target: Target, connection: Connection
) -> None:
    start(target, connection, rows=0)
    connection.execute("DROP TABLE parted.late")
    connection.execute(
        "CREATE TABLE parted.late PARTITION OF parted.things FOR VALUES FROM (7) TO (100)"
        " PARTITION BY RANGE (place)"
    )
    connection.execute(
        "CREATE TABLE parted.later PARTITION OF parted.late FOR VALUES FROM (7) TO (50)"
    )
    parents, *rest = INDEX.forward(PLAN)
    act(target, connection, PLAN, 4, parents)
    connection.execute(
        "CREATE TABLE parted.last PARTITION OF parted.things FOR VALUES FROM (100) TO (MAXVALUE)"
    )
    carry(target, connection, tuple(rest))
    assert indexes_of(connection)["things_by_kind"] is True
    row = connection.execute(
        "SELECT count(*) FROM pg_partition_tree('parted.things_by_kind') WHERE isleaf"
    ).fetchone()
    assert row == (3,), "early, later and last"
    carry(target, connection, INDEX.backward(PLAN))
    assert indexes_of(connection) == {}
