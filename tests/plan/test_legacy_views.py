"""A view shows a table in its old shape: its columns, its texts, its readers."""

from uuid import uuid4

import pytest
from psycopg import errors, sql

from rollout import plan as r
from rollout.engine import preflight
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.engine.actions import act, do_phase, do_step, undo_phase
from tests.engine.preflight.runs import item
from tests.engine.sample_plans import before_drop, with_step
from tests.engine.samples import BIGINT, ODD, PARTITIONED, REQUIRED, Sample
from tests.engine.test_every_phase import schema_of

SCHEMA = 'Old "reports"'


def view_of(sample: Sample) -> r.LegacyView:
    return r.LegacyView(
        id="view",
        description="Show things as they were",
        table=sample.table,
        name=sample.table.name,
        schema=SCHEMA,
    )


def columns(connection: Connection, relation: sql.Identifier) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [relation.as_string()],
    ).fetchall()


def rows(
    connection: Connection, relation: sql.Identifier, names: list[str]
) -> list[tuple[object, ...]]:
    query = sql.SQL("SELECT {} FROM {} ORDER BY 1, 2").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), relation
    )
    return connection.execute(query).fetchall()


def drifts(connection: Connection, plan: Plan, phases_done: int) -> list[str]:
    live = read(connection, labels_of(plan))
    return [str(drift) for drift in compare(plan, phases_done=phases_done, live=live)]


@pytest.mark.parametrize("sample", [ODD, REQUIRED, PARTITIONED], ids=str)
def test_the_view_has_the_old_columns_with_what_the_dual_write_would_have_written(
    sample: Sample, target: Target, connection: Connection
) -> None:
    view = view_of(sample)
    plan = before_drop(sample.plan, view)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
    sample.create(connection)
    # Of the texts of a row the view has the commonest, which is not its name.
    for number, kind in enumerate(["OPEN", "open", "open", "100 % it's \\", "", "House"]):
        sample.insert(connection, number, kind=kind, state="open" if number % 2 else "Shut")
    before, schema = columns(connection, sample.table.identifier), schema_of(target)
    names = [name for name, _ in before]
    for number in range(4):
        do_phase(target, connection, plan, number)
    ids = connection.execute(
        sql.SQL("SELECT id FROM {} ORDER BY id").format(sample.kind.lookup_sql)
    ).fetchall()
    for number in range(6):
        sample.delete(connection, number)
    for number, (id_,) in enumerate(ids):
        sample.insert(connection, 10 + number, kind_id=id_)
    written = rows(connection, sample.table.identifier, names)
    assert len(written) == len(ids) == 4
    do_phase(target, connection, plan, 4)
    assert columns(connection, view.identifier) == before
    assert rows(connection, view.identifier, names) == written
    assert drifts(connection, plan, 5) == []
    (do,) = view.forward(plan)
    assert act(target, connection, plan, 4, do) is False
    connection.execute(sql.SQL("DROP VIEW {}").format(view.identifier))
    assert drifts(connection, plan, 5) == [f"{view.label}: expected a view, found none"]
    connection.execute(sql.SQL("CREATE VIEW {} AS SELECT 1 AS one").format(view.identifier))
    with pytest.raises(errors.DuplicateTable):
        act(target, connection, plan, 4, do)
    (undo,) = view.backward(plan)
    assert act(target, connection, plan, 4, undo) is False
    assert columns(connection, view.identifier) == [("one", "integer")], "the application's own"
    connection.execute(sql.SQL("DROP VIEW {}").format(view.identifier))
    do_step(target, connection, plan, 4, view)
    after_the_drop = dict(columns(connection, view.identifier))
    assert after_the_drop == dict(before), "in another order"
    assert rows(connection, view.identifier, names) == written
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    assert schema_of(target) == schema


def test_readers_of_the_whole_table_read_the_view_with_their_own_rights_and_others_are_named(
    target: Target, connection: Connection
) -> None:
    view = view_of(BIGINT)
    plan = before_drop(BIGINT.plan, view)
    everything, single, nobody = (f"role_{uuid4().hex}" for _ in range(3))
    connection.execute(f'CREATE SCHEMA "{SCHEMA.replace(chr(34), chr(34) * 2)}"'.encode())
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House")
    BIGINT.insert(connection, 2, kind="Flat")
    try:
        for role in (everything, single, nobody):
            connection.execute(f"CREATE ROLE {role}".encode())
            connection.execute(
                sql.SQL("GRANT USAGE ON SCHEMA {}, public TO {}").format(
                    sql.Identifier(SCHEMA), sql.Identifier(role)
                )
            )
        connection.execute(
            f"GRANT SELECT, INSERT ON things TO {everything};"
            f" GRANT SELECT (id, kind) ON things TO {single};"
            " ALTER TABLE things ENABLE ROW LEVEL SECURITY;"
            " CREATE POLICY houses ON things FOR SELECT USING (id = 1)".encode()
        )
        for number in range(4):
            do_phase(target, connection, plan, number)
        readers = item(preflight.run(target, plan, 4), f"readers of the view {view.label}")
        assert readers.level == "warns"
        assert "1 roles may read single columns of things alone" in readers.evidence
        assert single in readers.evidence
        do_phase(target, connection, plan, 4)

        def read_as(role: str, what: str) -> list[tuple[object, ...]]:
            with connection.transaction(force_rollback=True):
                connection.execute(f"SET LOCAL ROLE {role}; SET LOCAL row_security = on".encode())
                query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(what), view.identifier)
                return connection.execute(query).fetchall()

        assert read_as(everything, "kind, state") == [("House", None)]
        for role, what in ((single, "id"), (nobody, "id")):
            with pytest.raises(errors.InsufficientPrivilege):
                read_as(role, what)
        granted = connection.execute(
            "SELECT DISTINCT privilege_type FROM pg_class, aclexplode(relacl)"
            " WHERE oid = to_regclass(%s) AND grantee = %s::regrole",
            [view.identifier.as_string(), everything],
        )
        assert granted.fetchall() == [("SELECT",)]
        for number in reversed(range(5)):
            undo_phase(target, connection, plan, number)
    finally:
        for role in (everything, single, nobody):
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_a_name_that_is_taken_and_a_schema_that_is_missing_block_the_first_phase_already(
    target: Target, connection: Connection
) -> None:
    view = view_of(BIGINT)
    plan = with_step(BIGINT.plan, 4, view)
    BIGINT.create(connection)

    def answers() -> dict[str, tuple[str, str]]:
        report = preflight.run(target, plan, 0)
        by_name = {i.name: (i.level, i.evidence) for i in report.items}
        return {
            what: by_name.get(f"{what} of the view {view.label}", ("pass", ""))
            for what in ("name", "schema", "server")
        }

    assert answers()["schema"] == (
        "blocks",
        f"1 schema is missing: {SCHEMA}, of the view {view.label}.",
    )
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
    assert {level for level, _ in answers().values()} == {"pass"}
    connection.execute(sql.SQL("CREATE VIEW {} AS SELECT 1 AS one").format(view.identifier))
    level, evidence = answers()["name"]
    assert level == "blocks"
    assert f"1 relation has the name {view.label} already. Examples: view" in evidence
