"""An integer key becomes a bigint with everything that refers to it, and comes back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from psycopg import errors

from rollout import plan as r
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Connection, Target
from tests.engine.selftests import tried
from tests.engine.test_every_phase import schema_of
from tests.schemas import MakeScenario, Scenario

SHOP = """
CREATE TABLE ticket (
  id serial CONSTRAINT "ticket key" PRIMARY KEY, parent_id integer, subject text NOT NULL,
  CONSTRAINT own CHECK (id > 0), CONSTRAINT other CHECK (parent_id <> id),
  CONSTRAINT texts CHECK (subject <> 'id' OR id > 0 AND subject <> 'parent_id''s id'),
  CONSTRAINT of_parent FOREIGN KEY (parent_id) REFERENCES ticket ON DELETE SET NULL
    DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX "by parent" ON ticket (parent_id DESC NULLS LAST, subject) WHERE subject <> '';
CREATE UNIQUE INDEX numbered ON ticket (id) INCLUDE (parent_id);
ALTER TABLE ticket REPLICA IDENTITY USING INDEX numbered;
CREATE TABLE "Ticket Line" (
  ticket integer, line integer DEFAULT 1, amount smallint NOT NULL DEFAULT 3,
  PRIMARY KEY (ticket, line),
  FOREIGN KEY (ticket) REFERENCES ticket ON UPDATE CASCADE ON DELETE CASCADE);
COMMENT ON INDEX "by parent" IS 'children of a ticket';
COMMENT ON CONSTRAINT of_parent ON ticket IS 'its parent';
COMMENT ON COLUMN ticket.id IS 'the number on the paper';
ALTER TABLE ticket ALTER COLUMN parent_id SET STATISTICS 300;
CREATE TABLE event (
  id integer GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 2) PRIMARY KEY, about integer);
COMMENT ON SEQUENCE event_id_seq IS 'odd';
GRANT USAGE ON SEQUENCE event_id_seq TO pg_monitor;
ALTER TABLE event ADD CONSTRAINT about_it FOREIGN KEY (about) REFERENCES event NOT VALID;
INSERT INTO ticket (parent_id, subject)
  SELECT nullif(g / 2, 0), 's' || g FROM generate_series(1, 60) g;
INSERT INTO "Ticket Line" (ticket, line)
  SELECT g, n FROM generate_series(1, 60) g, generate_series(1, 3) n;
INSERT INTO event (about) SELECT NULL FROM generate_series(1, 20);
"""
TICKET = r.Table(
    name="ticket",
    key=("id",),
    columns={"id": r.Column("integer", null=False), "parent_id": r.Column("integer")},
)
LINE = r.Table(
    name="Ticket Line",
    key=("ticket", "line"),
    columns={"ticket": r.Column("integer", null=False), "line": r.Column("integer", null=False)},
)
EVENT = r.Table(
    name="event",
    key=("id",),
    columns={"id": r.Column("integer", null=False), "about": r.Column("integer")},
)
TICKETS = r.WidenKey(table=TICKET, references=((TICKET, "parent_id"), (LINE, "ticket")))
EVENTS = r.WidenKey(table=EVENT, references=((EVENT, "about"),))


def create_shop(connection: Connection) -> None:
    connection.execute(SHOP.encode())


def widening(key: r.WidenKey) -> r.Plan:
    return r.Plan(
        name="wide-keys",
        title="Wide keys",
        description="Keys become bigint.",
        tables=key.tables,
        translations=key.translations,
        phases=key.phases(),
    )


CATALOG = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
       a.attstattarget, col_description(a.attrelid, a.attnum), pg_get_expr(d.adbin, d.adrelid),
       c.relreplident, (SELECT seqtypid::regtype::text || ' ' || seqmax FROM pg_sequence
         WHERE seqrelid = pg_get_serial_sequence(quote_ident(c.relname), a.attname)::regclass),
       ARRAY(SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
             WHERE (conrelid = c.oid OR confrelid = c.oid) AND contype <> 'n' ORDER BY 1),
       ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = c.oid ORDER BY 1)
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
   AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2"""
ROWS = {
    TICKET: "SELECT id, parent_id, subject FROM ticket ORDER BY id",
    LINE: 'SELECT ticket, line, amount FROM "Ticket Line" ORDER BY 1, 2',
    EVENT: "SELECT id, about FROM event ORDER BY id",
}


def an_application_that_knows_one_name_writes(shop: Scenario) -> None:
    """Keys by their sequence, references that cascade: as before, and gone afterwards."""
    write = shop.application
    if shop.plan.tables[-1] == EVENT:
        ((key,),) = write("INSERT INTO event (about) VALUES (5) RETURNING id")
        assert write(f"UPDATE event SET about = {key} WHERE id = {key} RETURNING about") == [(key,)]
        assert write(f"DELETE FROM event WHERE id = {key} RETURNING about") == [(key,)]
        return
    ((key,),) = write("INSERT INTO ticket (parent_id, subject) VALUES (7, 'x') RETURNING id")
    write(f'INSERT INTO "Ticket Line" (ticket) VALUES ({key})')
    write(f"UPDATE ticket SET id = id + 1000 WHERE id = {key}")
    write(f"INSERT INTO ticket (parent_id, subject) VALUES ({key} + 1000, 'child of {key}')")
    line = f'SELECT ticket FROM "Ticket Line" WHERE ticket = {key} + 1000'
    assert write(line) == [(key + 1000,)]
    write(f"DELETE FROM ticket WHERE id = {key} + 1000")
    assert write(line) == []
    child = f"DELETE FROM ticket WHERE subject = 'child of {key}' RETURNING parent_id"
    assert write(child) == [(None,)]
    with pytest.raises(errors.ForeignKeyViolation):
        write('INSERT INTO "Ticket Line" (ticket) VALUES (999)')
    with pytest.raises(errors.CheckViolation):
        write("UPDATE ticket SET parent_id = id WHERE id = 2")


def widened(row: tuple[Any, ...], columns: set[tuple[str, str]]) -> tuple[Any, ...]:
    """A line of the catalog as it is with wide columns."""
    sequence = row[9] and "bigint 9223372036854775807"
    return (*row[:2], "bigint", *row[3:9], sequence, *row[10:]) if row[:2] in columns else row


def writing(target: Target, number: int, stop: Event) -> tuple[int, int]:
    """An application that never stops: tickets made and lines left, of its own parents."""
    made = tickets = lines = 0
    with target.connect() as session:
        # A prepared statement does not survive another type of its result.
        session.prepare_threshold = None
        while not stop.is_set():
            with session.transaction():
                row = session.execute(
                    "INSERT INTO ticket (parent_id, subject) VALUES (%s, %s) RETURNING id",
                    [number, f"of {number}"],
                ).fetchone()
                assert row is not None
                for line in range(3):
                    session.execute(
                        'INSERT INTO "Ticket Line" (ticket, line) VALUES (%s, %s)', [row[0], line]
                    )
            session.execute("UPDATE ticket SET parent_id = NULL WHERE id = %s", row)
            session.execute('DELETE FROM "Ticket Line" WHERE ticket = %s AND line = 0', row)
            made, tickets, lines = made + 1, tickets + 1, lines + 2
            if made % 5 == 0:
                # With its lines.
                session.execute("DELETE FROM ticket WHERE id = %s", row)
                tickets, lines = tickets - 1, lines - 2
                stop.wait(0.04)
    return tickets, lines


Writing = Callable[[Target, int, Event], tuple[int, int]]


def loses_no_write(shop: Scenario, counted: str, write: Writing) -> None:
    """Three applications write in every phase and back; ``counted`` counts tickets and lines."""
    before = schema_of(shop.target)
    ((tickets, lines),) = shop.application(counted)
    stop = Event()
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, shop.target, number, stop) for number in (1, 2, 3)]
        try:
            shop.carry_out(0, 1, 2, 3, 4)
            shop.take_back(4, 3, 2, 1, 0)
        finally:
            stop.set()
        written = [writer.result(timeout=60) for writer in writers]
    expected = (tickets + sum(t for t, _ in written), lines + sum(n for _, n in written))
    assert shop.application(counted) == [expected]
    assert all(made > 0 for made, _ in written)
    assert schema_of(shop.target) == before


def test_no_write_is_lost_or_refused_while_a_key_becomes_wide_and_comes_back(
    scenario: MakeScenario, newest: Target
) -> None:
    counted = 'SELECT (SELECT count(*) FROM ticket), (SELECT count(*) FROM "Ticket Line")'
    loses_no_write(scenario(SHOP, widening(TICKETS)), counted, writing)


@pytest.mark.parametrize("key", [TICKETS, EVENTS], ids=["serial", "identity"])
def test_a_key_and_what_refers_to_it_become_wide_and_come_back(
    key: r.WidenKey, scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(SHOP, widening(key))
    assert shop.check() == []
    before, catalog = schema_of(shop.target), shop.application(CATALOG)
    rows = {table: shop.application(ROWS[table]) for table in key.tables}
    for phase in range(5):
        shop.carry_out(phase)
        an_application_that_knows_one_name_writes(shop)
        live = read(shop.connection, labels_of(shop.plan))
        assert compare(shop.plan, phases_done=phase + 1, live=live) == []
        if phase in (2, 3):
            assert shop.audit().mismatched == 0
    wide = {(t.table.name, c) for t in key.translations for c in t.legacy}
    assert shop.application(CATALOG) == [widened(row, wide) for row in catalog]
    for phase in (4, 3, 2, 1, 0):
        shop.take_back(phase)
        an_application_that_knows_one_name_writes(shop)
        live = read(shop.connection, labels_of(shop.plan))
        assert compare(shop.plan, phases_done=phase, live=live) == []
    assert schema_of(shop.target) == before
    assert shop.application(CATALOG) == catalog
    assert {table: shop.application(ROWS[table]) for table in key.tables} == rows


FULL = "SELECT setval('ticket_id_seq', 2147483647)"
NEW = "INSERT INTO ticket (subject) VALUES ('beyond') RETURNING id"
BEYOND = 2147483648


def test_ids_beyond_the_narrow_type_wait_for_phase_4_and_keep_it_from_being_rolled_back(
    scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(SHOP, widening(TICKETS))
    shop.carry_out(0, 1, 2, 3)
    shop.application(FULL)
    with pytest.raises(errors.DataError, match=r"ticket"):
        shop.application(NEW)
    # A sequence that went on is as used up as it was, once its type is narrow again.
    shop.take_back(3)
    with pytest.raises(errors.SequenceGeneratorLimitExceeded, match="maximum value"):
        shop.application(NEW)
    shop.carry_out(3, 4)
    assert shop.application(NEW) == [(BEYOND,)]
    shop.application(f'INSERT INTO "Ticket Line" (ticket) VALUES ({BEYOND})')
    everything = schema_of(shop.target)
    with pytest.raises(
        errors.RaiseException,
        match=r"1 row of Ticket Line is beyond .*, 1 row of ticket is beyond .*delete them",
    ):
        shop.take_back(4)
    assert schema_of(shop.target) == everything
    shop.application(f"DELETE FROM ticket WHERE id = {BEYOND}")
    shop.take_back(4, 3, 2, 1, 0)


def test_the_selftest_finds_planted_defects_of_wide_keys(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(SHOP, widening(TICKETS))
    for phase in range(4):
        shop.carry_out(phase)
        if phase in (2, 3):
            assert tried(shop.target, shop.plan).passed
