"""What one statement reads of the catalog."""

from rollout.engine.catalog import labels_of, live_columns, read, read_triggers
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase
from tests.engine.samples import BIGINT, COMPOSITE, ODD
from tests.engine.test_catalog import PLAN


def test_triggers_read_alone_are_those_of_the_whole_catalog(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    for number in range(3):
        do_phase(target, connection, PLAN, number)
    connection.execute("ALTER TABLE things DISABLE TRIGGER ALL")
    whole = read(connection, labels_of(PLAN)).tables
    triggers = {
        table: {part: text for part, text in parts.items() if part.kind == "trigger"}
        for table, parts in whole.items()
    }
    assert any(triggers.values())
    assert read_triggers(connection, labels_of(PLAN)).tables == triggers


def test_a_table_of_the_same_name_in_another_schema_is_another_table(
    connection: Connection,
) -> None:
    COMPOSITE.create(connection)
    ODD.create(connection)
    connection.execute("CREATE TABLE things (id integer)")
    live = live_columns(connection, ["elsewhere.things", 'Mixed Case.Ta.ble"x', "nowhere"])
    assert list(live) == ['Mixed Case.Ta.ble"x', "elsewhere.things"]
    assert list(live["elsewhere.things"]) == ["place", "code", "kind", "state", "made_at"]
