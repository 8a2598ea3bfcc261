"""Writes that give both sides different meanings: who wins, and what is known of them later."""

import pytest
from psycopg import sql

from rollout.engine import ddl
from rollout.engine.conflicting_writes import count_conflicting_writes
from rollout.engine.target import Connection, Target, own_transaction
from rollout.plan.conversion_lines import Stage
from tests.engine.actions import NoControl
from tests.engine.samples import BIGINT, PARTITIONED
from tests.plan.test_dual_writes import TRIGGERS, start

STAGES: tuple[Stage, ...] = ("forward", "reverse", "frozen")


def counts(connection: Connection) -> list[tuple[str, int, list[str], str | None]]:
    return [
        (of.application, of.writes, of.key, of.legacy)
        for of in count_conflicting_writes(connection, BIGINT.plan)
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_a_write_of_two_meanings_is_counted_with_its_application_and_newest_row(
    stage: Stage, target: Target, connection: Connection, app: Connection
) -> None:
    start(target, connection, stage=stage)
    house, flat = BIGINT.lookup_id(app, "House"), BIGINT.lookup_id(app, "Flat")
    BIGINT.insert(app, 1, kind=" house", kind_id=flat)
    kept = (" house", house) if stage == "forward" else ("Flat", flat)
    assert BIGINT.row(app, 1, "kind", "kind_id") == kept
    app.execute("SET application_name = 'shop 2.0'")
    BIGINT.insert(app, 2, kind_id=house)
    for kind, kind_id in (("Castle", flat), ("Tower", house)):
        BIGINT.update(app, 2, kind=kind, kind_id=kind_id)
    assert BIGINT.name_of(app, 2) == ("Tower" if stage == "forward" else "House")
    noted = [("shop 2.0", 2, ["2"], "Tower"), ("the application", 1, ["1"], " house")]
    assert counts(connection) == noted
    BIGINT.update(app, 1, kind="Inn", kind_id=house if stage != "forward" else flat)
    assert counts(connection) == [("shop 2.0", 3, ["1"], "Inn"), noted[1]]
    kept_notes = connection.execute("SELECT count(*) FROM rollout.conflicting_writes").fetchone()
    assert kept_notes == (2,)
    ddl.apply(connection, TRIGGERS.remove(), NoControl())
    assert counts(connection) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_write_of_one_meaning_is_not_counted_whoever_makes_it(
    stage: Stage, target: Target, connection: Connection, app: Connection
) -> None:
    connection.execute("SET client_min_messages = warning")
    start(target, connection, stage=stage)
    connection.execute("ALTER TABLE things ALTER state SET DEFAULT 'open'")
    house, flat = BIGINT.lookup_id(app, "House"), BIGINT.lookup_id(app, "Flat")
    opened = BIGINT.lookup_id(app, "Open", BIGINT.state)
    BIGINT.insert(app, 1, kind_id=house, state_id=opened)
    BIGINT.insert(app, 2, kind="HOUSE ", kind_id=house, state_id=opened)
    BIGINT.update(app, 2, kind=" flat", kind_id=flat)
    BIGINT.update(app, 2, kind_id=house)
    BIGINT.update(app, 2, kind=None, kind_id=flat)
    BIGINT.update(app, 2, note="neither", id=3)
    if stage != "frozen":
        BIGINT.insert(app, 4, kind="Castle", state="sold")
        BIGINT.update(app, 4, kind="Tower")
    if stage != "forward":
        # What the legacy column defaults to is nobody's word.
        sold = BIGINT.lookup_id(app, "sold", BIGINT.state)
        BIGINT.insert(app, 5, kind_id=flat, state_id=sold)
        BIGINT.update(app, 5, state_id=None)
    with own_transaction(connection):
        BIGINT.update(connection, 1, kind="Tower", kind_id=flat)
    assert counts(connection) == []


def test_an_empty_foreign_key_alone_is_counted_before_the_cutover_where_the_text_stays(
    target: Target, connection: Connection, app: Connection
) -> None:
    start(target, connection)
    BIGINT.insert(app, 1, kind="House", state="open")
    BIGINT.update(app, 1, state_id=None)
    assert BIGINT.row(app, 1, "state") == "open"
    assert BIGINT.name_of(app, 1, BIGINT.state) == "open"
    assert counts(connection) == [("the application", 1, ["1"], "open")]
    BIGINT.update(app, 1, state=None, state_id=None)
    assert BIGINT.row(app, 1, "state", "state_id") == (None, None)
    assert counts(connection)[0][1] == 1


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_transactions_that_are_counted_wait_for_none_and_fail_for_none(
    isolation: str, target: Target, connection: Connection, app: Connection
) -> None:
    start(target, connection, stage="reverse")
    house, flat = BIGINT.lookup_id(app, "House"), BIGINT.lookup_id(app, "Flat")
    for number in (1, 2):
        BIGINT.insert(app, number, kind="House")
    with target.connect() as other:
        for session in (app, other):
            session.execute("SET statement_timeout = '5s'")
            session.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
            session.execute("SELECT FROM things")
        BIGINT.update(app, 1, kind="Flat", kind_id=BIGINT.lookup_id(app, "Unspecified"))
        BIGINT.update(other, 2, kind="House ", kind_id=flat)
        assert counts(connection) == []
        app.execute("COMMIT")
        assert [writes for _, writes, _, _ in counts(connection)] == [1]
        other.execute("ROLLBACK")
    assert [writes for _, writes, _, _ in counts(connection)] == [1]
    assert BIGINT.row(app, 2, "kind_id") == house


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_that_moves_to_another_partition_takes_both_sides_with_it(
    stage: Stage, target: Target, connection: Connection, app: Connection
) -> None:
    start(target, connection, stage=stage, sample=PARTITIONED)
    flat = PARTITIONED.lookup_id(app, "Flat")
    for number in (1, 2, 3):
        PARTITIONED.insert(app, number, kind_id=PARTITIONED.lookup_id(app, "House"))
    for number, change in ((1, "note = 'moved'"), (2, f"kind_id = {flat}"), (3, "kind = kind")):
        app.execute(
            sql.SQL("UPDATE {} SET place = 10, {} WHERE id = {}").format(
                PARTITIONED.table.identifier, sql.SQL(change), sql.Literal(number)
            )
        )
    moved = app.execute("SELECT id, kind, kind_id = %s FROM parted.late ORDER BY id", [flat])
    assert moved.fetchall() == [(1, "House", False), (2, "Flat", True), (3, "House", False)]
    assert count_conflicting_writes(connection, PARTITIONED.plan) == []
