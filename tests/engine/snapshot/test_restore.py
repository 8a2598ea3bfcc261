"""A dump of every kind of table comes back as it was, and a difference is named."""

from dataclasses import replace

import pytest
from psycopg import sql

from rollout.engine.snapshot.contents import Contents, contents_of, differences, relations_of
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.restore import Recorded, replace_tables, verify
from rollout.engine.target import Connection, Target, install
from tests.engine.actions import do_phase, undo_phase
from tests.engine.samples import BIGINT, SAMPLES, Sample
from tests.engine.snapshot.taken_dumps import CONTROL, ROWS, filled, taken
from tests.plan.test_conversions import OFFERS, PRICE
from tests.schemas import plan_of
from tests.support.bare_databases import OF_PLANS

pytestmark = pytest.mark.slow


def own_functions(connection: Connection) -> list[tuple[str, ...]]:
    """The functions that plans have in the engine's schema, with what stands in them."""
    return connection.execute(
        f"SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE {OF_PLANS} ORDER BY 1".encode()
    ).fetchall()


def rows_of(connection: Connection, sample: Sample) -> list[str]:
    rows = connection.execute(
        sql.SQL("SELECT to_jsonb(t)::text FROM {} AS t").format(sample.table.identifier)
    ).fetchall()
    return sorted(row[0] for row in rows)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
@pytest.mark.parametrize("phases", [(), (3, 4)], ids=["both shapes", "the new shape"])
def test_a_dump_restored_elsewhere_holds_what_it_held(
    target: Target, connection: Connection, sample: Sample, phases: tuple[int, ...]
) -> None:
    plan = filled(target, connection, sample)
    for phase in phases:
        do_phase(target, connection, plan, phase)
    with taken(target, plan) as (archive, recorded):
        verification = verify(target, plan, archive, recorded, CONTROL, snapshot=1, token=1)
    assert verification.differences == []
    assert sum(verification.contents.counts.values()) >= ROWS
    assert verification.contents.crosstabs[0].digest == recorded.contents.crosstabs[0].digest


def test_a_copy_with_other_rows_or_pairs_differs_by_name(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    before = contents_of(connection, plan, relations_of(connection, plan))
    connection.execute("UPDATE things SET kind = 'Castle' WHERE id = 1")
    connection.execute("DELETE FROM things WHERE id = 2")
    after = contents_of(connection, plan, relations_of(connection, plan))
    listed = " ".join(differences(before, after))
    assert "things: 59 rows instead of 60." in listed
    assert "Value pairs of things.kind and kind_id differ" in listed
    assert differences(before, before) == []
    assert "things: missing from the restored copy." in differences(before, Contents())


def test_a_row_that_points_to_another_value_differs_though_the_counts_are_equal(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    relations = relations_of(connection, plan)
    before = contents_of(connection, plan, relations)
    connection.execute("ALTER TABLE things DISABLE TRIGGER USER")
    connection.execute(
        "UPDATE things SET kind_id = (SELECT id FROM kinds WHERE name = 'open')"
        " WHERE kind = 'House' AND id = 0"
    )
    assert len(differences(before, contents_of(connection, plan, relations))) == 1


def test_types_functions_and_triggers_of_the_application_come_back(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    connection.execute(
        """
        CREATE SCHEMA own;
        CREATE TYPE own.mood AS ENUM ('good', 'it''s bad');
        ALTER TABLE things ADD COLUMN mood own.mood DEFAULT 'it''s bad';
        CREATE FUNCTION own.shout() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN new.state := upper(new.state); RETURN new; END $$;
        CREATE TRIGGER shout BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION own.shout();
        CREATE FUNCTION own.short(text) RETURNS text LANGUAGE sql IMMUTABLE AS
          $$ SELECT left($1, 2) $$;
        CREATE INDEX short ON things (own.short(state));
        CREATE TABLE elsewhere (id bigint PRIMARY KEY);
        ALTER TABLE things ADD COLUMN other bigint REFERENCES elsewhere;
        INSERT INTO things (id, state) VALUES (1, 'quiet');
        """
    )
    with taken(target, BIGINT.plan) as (archive, recorded):
        assert recorded.left_out == ["FK CONSTRAINT public things things_other_fkey"]
        verification = verify(target, BIGINT.plan, archive, recorded, CONTROL, snapshot=1, token=1)
        assert verification.differences == []
        replace_tables(connection, BIGINT.plan, archive, recorded, CONTROL)
    row = connection.execute(
        "INSERT INTO things (id, state) VALUES (2, 'loud') RETURNING state, mood::text"
    ).fetchone()
    assert row == ("LOUD", "it's bad")


def test_tables_are_replaced_with_their_triggers_mapping_and_modes(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    connection.execute("INSERT INTO rollout.modes (plan) VALUES ('another')")
    before, functions = rows_of(connection, BIGINT), own_functions(connection)
    with taken(target, plan) as (archive, recorded):
        for phase in (3, 4):
            do_phase(target, connection, plan, phase)
        connection.execute("UPDATE rollout.modes SET read_mode = 'new' WHERE plan = 'another'")
        connection.execute("DELETE FROM things WHERE id < 20")
        replace_tables(connection, plan, archive, recorded, CONTROL)
    assert rows_of(connection, BIGINT) == before
    assert own_functions(connection) == functions
    modes = connection.execute("SELECT plan, read_mode FROM rollout.modes").fetchall()
    assert sorted(modes) == [("another", "new"), (plan.name, "legacy")]
    connection.execute("INSERT INTO things (id, kind, state) VALUES (1000, 'HOUSE', 'open')")
    assert connection.execute(
        "SELECT l.name FROM things JOIN kinds AS l ON l.id = kind_id WHERE things.id = 1000"
    ).fetchone() == ("House",)


def test_values_of_a_dropped_column_come_back_from_the_snapshot(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    connection.execute(
        "ALTER TABLE things ALTER kind SET DEFAULT 'House';"
        "INSERT INTO rollout.attributes VALUES ('another', 'things', 1, 1, 'a', 'b', 'c')"
    )
    for phase in (3, 4):
        do_phase(target, connection, plan, phase)
    asked = "SELECT * FROM rollout.attributes AS a ORDER BY a"
    kept, functions = connection.execute(asked).fetchall(), own_functions(connection)
    with taken(target, plan) as (archive, recorded):
        for phase in (4, 3):
            undo_phase(target, connection, plan, phase)
        assert len(connection.execute(asked).fetchall()) == 1 < len(kept)
        replace_tables(connection, plan, archive, recorded, CONTROL)
    assert connection.execute(asked).fetchall() == kept
    assert own_functions(connection) == functions
    undo_phase(target, connection, plan, 4)
    row = connection.execute("INSERT INTO things (id) VALUES (1000) RETURNING kind").fetchone()
    assert row == ("House",)


def test_decisions_about_values_come_back_from_the_snapshot(
    target: Target, connection: Connection
) -> None:
    plan = filled(target, connection)
    decide = (
        "INSERT INTO rollout.value_decisions"
        " (plan, table_label, columns, source, decided, reviewer) VALUES"
        " (%s, 'things', 'cents', %s, '{\"cents\": null}', 'ada')"
    )
    connection.execute(decide, [plan.name, '["free"]'])
    connection.execute(decide, ["another", '["free"]'])
    with taken(target, plan) as (archive, recorded):
        connection.execute("DELETE FROM rollout.value_decisions")
        connection.execute(decide, ["another", '["gift"]'])
        replace_tables(connection, plan, archive, recorded, CONTROL)
    rows = connection.execute("SELECT plan, source FROM rollout.value_decisions").fetchall()
    assert sorted(rows) == sorted([("another", '["gift"]'), (plan.name, '["free"]')])


def test_a_kept_name_comes_back_from_the_snapshot_with_the_functions_of_its_triggers(
    target: Target, connection: Connection
) -> None:
    plan = plan_of(replace(PRICE, keeps_name=True, unconvertible="quarantine"))
    connection.execute(OFFERS.encode())
    install(connection)
    for phase in range(4):
        do_phase(target, connection, plan, phase)
    functions = own_functions(connection)
    with taken(target, plan) as (archive, recorded):
        do_phase(target, connection, plan, 4)
        replace_tables(connection, plan, archive, recorded, CONTROL)
    assert own_functions(connection) == functions
    written = "UPDATE offer SET {} WHERE id = 3 RETURNING price, price_legacy"
    for values, row in (
        ("price_legacy = 'free'", (None, "free")),
        ("price = 500", (500, "5.00")),
    ):
        assert connection.execute(written.format(values).encode()).fetchone() == row
    for phase in (3, 2, 1, 0):
        undo_phase(target, connection, plan, phase)
    assert own_functions(connection) == []


def test_a_replacement_that_fails_changes_nothing(target: Target, connection: Connection) -> None:
    plan = filled(target, connection)
    before = rows_of(connection, BIGINT)
    with taken(target, plan) as (archive, recorded):
        connection.execute("CREATE VIEW on_top AS SELECT id FROM things")
        with pytest.raises(SnapshotError, match="depend on the plan's tables") as error:
            replace_tables(connection, plan, archive, recorded, CONTROL)
        assert "on_top" in str(error.value)
        connection.execute("DROP VIEW on_top")
        wrong = Recorded(
            Contents({**recorded.contents.counts, "things": 61}, recorded.contents.crosstabs),
            recorded.prerequisites,
            recorded.left_out,
        )
        with pytest.raises(SnapshotError, match="things: 60 rows instead of 61"):
            replace_tables(connection, plan, archive, wrong, CONTROL)
    assert rows_of(connection, BIGINT) == before
