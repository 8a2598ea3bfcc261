"""A key of a partitioned table becomes a bigint, or one that partitioned tables refer to."""

from dataclasses import replace

import pytest
from psycopg import errors

from rollout import plan as r
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.ddl import RowsInTheWay
from rollout.engine.target import Target
from rollout.plan.actions import Statement
from tests.engine.actions import do_step
from tests.engine.selftests import tried
from tests.engine.test_every_phase import schema_of
from tests.plan.partitioned_shops import (
    CATALOG,
    COLUMNS,
    COUNTED,
    OF_TICKETS,
    ROWS,
    SHOPS,
    TICKETS,
    the_application_writes_tickets,
    widened,
    writing,
)
from tests.plan.test_wide_keys import loses_no_write, widening
from tests.schemas import MakeScenario, RefusedByPreflight, Scenario, assert_each_refused


@pytest.mark.parametrize("key", SHOPS, ids=["of a partitioned table", "of partitioned referrers"])
def test_a_key_and_the_partitions_of_its_tables_become_wide_and_come_back(
    key: r.WidenKey, scenario: MakeScenario, server: Target
) -> None:
    tables, write = SHOPS[key]
    shop = scenario(tables, widening(key))
    assert shop.check() == []
    before, catalog = schema_of(shop.target), shop.application(CATALOG)
    rows = [shop.application(query) for query in ROWS[key]]
    for phase in range(5):
        shop.carry_out(phase)
        write(shop)
        live = read(shop.connection, labels_of(shop.plan))
        assert compare(shop.plan, phases_done=phase + 1, live=live) == []
        if phase in (2, 3):
            assert shop.audit().mismatched == 0
    assert shop.application(CATALOG) == [widened(row, COLUMNS[key]) for row in catalog]
    for phase in (4, 3, 2, 1, 0):
        shop.take_back(phase)
        write(shop)
        live = read(shop.connection, labels_of(shop.plan))
        assert compare(shop.plan, phases_done=phase, live=live) == []
    assert schema_of(shop.target) == before
    assert shop.application(CATALOG) == catalog
    assert [shop.application(query) for query in ROWS[key]] == rows


def test_no_write_is_lost_or_refused_while_a_partitioned_key_becomes_wide_and_comes_back(
    scenario: MakeScenario, newest: Target
) -> None:
    loses_no_write(scenario(TICKETS, widening(OF_TICKETS)), COUNTED, writing)


NEW_PARTITION = """
CREATE TABLE ticket_{year} PARTITION OF ticket FOR VALUES FROM ('{year}-01-01') TO ('{next}-01-01')
"""


def a_partition_is_made(shop: Scenario, year: int) -> None:
    statement = NEW_PARTITION.replace("{year}", str(year)).replace("{next}", str(year + 1))
    shop.application(statement, f"INSERT INTO ticket (day, parent_id) VALUES ('{year}-04-04', 1)")


def test_a_partition_that_is_made_meanwhile_goes_along(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(TICKETS, widening(OF_TICKETS))
    for phase in range(5):
        a_partition_is_made(shop, 2030 + phase)
        if phase != 3:
            shop.carry_out(phase)
            continue
        *before, swapping, _audit = shop.plan.phases[3].steps
        for step in before:
            do_step(shop.target, shop.connection, shop.plan, 3, step)
        for action in shop.plan.forward(swapping).actions:
            assert isinstance(action, Statement)
            if action.generates:
                for (text,) in shop.connection.execute(action.sql).fetchall():
                    shop.connection.execute(text)
                continue
            # One that comes after the others' indexes are built stops the swap, which runs again.
            a_partition_is_made(shop, 2040)
            with pytest.raises(errors.RaiseException, match="another index or constraint"):
                shop.connection.execute(action.sql)
            break
        shop.carry_out(3)
    for phase in (4, 3, 2, 1, 0):
        a_partition_is_made(shop, 2050 + phase)
        shop.take_back(phase)
    catalog = shop.application(CATALOG)
    assert {row[2] for row in catalog if row[1] in COLUMNS[OF_TICKETS]} == {"integer"}
    assert [row for row in catalog if "rollout_" in str(row) or "invalid" in str(row)] == []
    made = "SELECT count(*), min(id), max(parent_id) FROM ticket WHERE day >= '2030-01-01'"
    assert shop.application(made) == [(11, 61, 1)]


def test_rows_that_are_attached_with_a_partition_are_named_before_the_cutover(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(TICKETS, widening(OF_TICKETS))
    shop.carry_out(0, 1, 2)
    shop.application(
        "CREATE TABLE late (LIKE ticket INCLUDING ALL)",
        "INSERT INTO late (id, day) VALUES (900, '2030-04-04')",
        "ALTER TABLE ticket ATTACH PARTITION late FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')",
    )
    (refusal,) = (item for item in shop.failing(3) if item.level == "blocks")
    assert "1 row of ticket has NULL in id_wide. Examples: 900 2030-04-04" in refusal.evidence
    with pytest.raises(RowsInTheWay, match="900 2030-04-04"):
        do_step(shop.target, shop.connection, shop.plan, 3, shop.plan.phases[3].steps[2])
    shop.application("UPDATE late SET id = id")
    shop.carry_out(3, 4)
    shop.take_back(4, 3, 2, 1, 0)


BY_ITSELF = "ALTER TABLE ticket ADD parent_day date, ADD CONSTRAINT of_parent FOREIGN KEY"
BY_ITSELF += " (parent_id, parent_day) REFERENCES ticket"
BETWEEN = "constraint of_parent on table ticket, between partitioned tables, before PostgreSQL 18"


def test_a_foreign_key_between_partitioned_tables_goes_along_or_is_refused_by_an_older_server(
    scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(f"{TICKETS}; {BY_ITSELF}", widening(OF_TICKETS))
    if shop.connection.info.server_version < 180_000:
        refused = " ".join(i.evidence for i in shop.failing(0) if i.level == "blocks")
        assert BETWEEN in refused
        with pytest.raises(RefusedByPreflight):
            shop.carry_out(0)
        return
    before, catalog = schema_of(shop.target), shop.application(CATALOG)
    for phase in range(5):
        shop.carry_out(phase)
        the_application_writes_tickets(shop)
        with pytest.raises(errors.ForeignKeyViolation):
            shop.application("UPDATE ticket SET parent_day = '2020-01-01' WHERE id = 7")
    assert shop.application(CATALOG) == [widened(row, COLUMNS[OF_TICKETS]) for row in catalog]
    for phase in (4, 3, 2, 1, 0):
        shop.take_back(phase)
        the_application_writes_tickets(shop)
    assert schema_of(shop.target) == before


# What is not handed on: how it is made, taken away, and named.
REFUSED = {
    "a view of a partition": (
        "CREATE VIEW seen AS SELECT id FROM ticket_1",
        "DROP VIEW seen",
        "view seen",
    ),
    "an index of a partition by an expression": (
        "CREATE INDEX odd ON ticket_3a ((id % 2))",
        "DROP INDEX odd",
        "index odd, by an expression",
    ),
    "an index of which a partition has none": (
        "CREATE INDEX half ON ONLY ticket (id)",
        "DROP INDEX half",
        "index half, which is invalid",
    ),
    "a foreign key that is not validated": (
        "CREATE TABLE other (ticket bigint, day date);"
        " ALTER TABLE other ADD CONSTRAINT loose FOREIGN KEY (ticket, day) REFERENCES ticket"
        " NOT VALID",
        "DROP TABLE other",
        "constraint loose on table other, which is not validated",
    ),
    "a referrer to a partition that the plan does not name": (
        "CREATE TABLE other (ticket integer, day date, FOREIGN KEY (ticket, day)"
        " REFERENCES ticket_1)",
        "DROP TABLE other",
        "other.ticket",
    ),
    "a partitioned referrer that the plan does not name": (
        "CREATE TABLE other (ticket integer, day date, FOREIGN KEY (ticket, day)"
        " REFERENCES ticket_1) PARTITION BY LIST (day);"
        " CREATE TABLE any_other PARTITION OF other DEFAULT",
        "DROP TABLE other",
        "other.ticket",
    ),
    "a constraint of a partition whose index is its table's": (
        "CREATE UNIQUE INDEX once ON ONLY ticket (id, day, parent_id);"
        " ALTER TABLE ticket_1 ADD CONSTRAINT of_one UNIQUE (id, day, parent_id);"
        " ALTER INDEX once ATTACH PARTITION of_one",
        "DROP INDEX once CASCADE",
        "constraint of_one on table ticket_1, of a partition alone",
    ),
}


def test_an_object_of_a_partition_that_cannot_be_handed_on_is_listed_and_refused(
    scenario: MakeScenario, server: Target
) -> None:
    assert_each_refused(scenario(TICKETS, widening(OF_TICKETS)), REFUSED)


BY_KEY = """
CREATE TABLE ticket (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE ticket_1 PARTITION OF ticket FOR VALUES FROM (0) TO (1000);
"""
ALONE = r.Table(name="ticket", key=("id",), columns={"id": r.Column("integer", null=False)})


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (replace(ALONE, partitioned=True), "column id, by which table ticket is partitioned"),
        (ALONE, "ticket has partitions, which does not match the plan"),
    ],
    ids=["by its key", "as the plan does not say"],
)
def test_a_table_that_is_partitioned_otherwise_is_refused_by_name_before_phase_0(
    table: r.Table, reason: str, scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(BY_KEY, widening(r.WidenKey(table=table)))
    before = schema_of(shop.target)
    with pytest.raises(RefusedByPreflight):
        shop.carry_out(0)
    refused = " ".join(i.evidence for i in shop.failing(0) if i.level == "blocks")
    assert reason in refused
    assert schema_of(shop.target) == before


def test_the_way_back_is_refused_while_a_partition_has_ids_beyond_the_narrow_type(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(TICKETS, widening(OF_TICKETS))
    shop.carry_out(0, 1, 2, 3, 4)
    shop.application("INSERT INTO ticket (id, day) VALUES (2147483648, '2022-10-10')")
    everything = schema_of(shop.target)
    with pytest.raises(errors.RaiseException, match="1 row of ticket is beyond 2147483647 in id"):
        shop.take_back(4)
    assert schema_of(shop.target) == everything


def test_the_selftest_finds_planted_defects_of_a_partitioned_key(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(TICKETS, widening(OF_TICKETS))
    for phase in range(4):
        shop.carry_out(phase)
        if phase in (2, 3):
            assert tried(shop.target, shop.plan).passed
