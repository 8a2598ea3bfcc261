"""A new column takes its legacy column's name with the cutover, and gives it back."""

from dataclasses import replace

import pytest

from rollout import plan as r
from rollout.engine.audit import cells_of_row
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.kept_names import with_names_of_now
from rollout.engine.rehearsal import fingerprints
from rollout.engine.repair import RepairPlan, Selection, count, refusal_to_repair
from rollout.engine.target import Target
from rollout.engine.value_decisions import decide_values, unconvertible_values
from rollout.plan.switch import has_new_columns_alone
from tests.plan.test_conversions import LEGACY, NAMES, NOTE, OFFER, OFFERS, PRICE
from tests.schemas import MakeScenario, RefusedByPreflight, Scenario, plan_of

NUMBERED = """
CREATE TABLE "Order Item" (
  "Order" bigint, id uuid DEFAULT gen_random_uuid(), "Amount" integer NOT NULL DEFAULT 7,
  note text, PRIMARY KEY ("Order", id)) PARTITION BY RANGE ("Order");
CREATE TABLE low PARTITION OF "Order Item" FOR VALUES FROM (0) TO (20);
CREATE TABLE high PARTITION OF "Order Item" FOR VALUES FROM (20) TO (1000);
COMMENT ON COLUMN "Order Item"."Amount" IS 'pieces';
ALTER TABLE "Order Item" ALTER COLUMN "Amount" SET STATISTICS 300;
ALTER TABLE "Order Item" ALTER COLUMN "Amount" SET (n_distinct_inherited = -0.5);
GRANT SELECT ("Amount"), UPDATE ("Amount") ON "Order Item" TO pg_monitor;
CREATE INDEX "old amounts" ON "Order Item" ("Amount");
INSERT INTO "Order Item" ("Order", "Amount") SELECT g, g * 3 FROM generate_series(1, 40) g;
"""
ITEM = r.Table(
    name="Order Item",
    key=("Order", "id"),
    columns={
        "Order": r.Column("bigint", null=False),
        "id": r.Column("uuid", null=False),
        "Amount": r.Column("integer", null=False),
    },
    partitioned=True,
)
WIDE = r.Convert(
    table=ITEM,
    legacy=("Amount",),
    columns={"Amount wide": r.Column("bigint")},
    forward={"Amount wide": "{Amount}"},
    backward={"Amount": "{Amount wide}"},
    keeps_name=True,
)
INDEXED = r.CreateIndex(
    id="index", description="Index amounts", table=ITEM, name="amounts", columns=("Amount wide",)
)
UNINDEXED = r.DropIndex(
    id="unindex", description="Drop it", table=ITEM, name="old amounts", columns=("Amount",)
)
LISTED = r.CreateIndex(
    id="list", description="Index amounts", table=ITEM, name="listed", columns=("Amount", "Order")
)
WIDENING = plan_of(WIDE, extra={4: (LISTED,)})
WIDENING = replace(
    WIDENING,
    phases=tuple(  # type: ignore[arg-type]
        replace(phase, steps=({3: (INDEXED,), 4: (UNINDEXED,)}.get(number, ()) + phase.steps))
        for number, phase in enumerate(WIDENING.phases)
    ),
)
CATALOG = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstattarget,
       a.attoptions::text, a.attacl::text, col_description(a.attrelid, a.attnum),
       pg_get_expr(d.adbin, d.adrelid),
       ARRAY(SELECT conname || ' ' || contype::text FROM pg_constraint WHERE conrelid = a.attrelid
             AND a.attnum = ANY (conkey) ORDER BY 1),
       ARRAY(SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = a.attrelid
             AND a.attnum = ANY (indkey) AND NOT indisprimary ORDER BY 1)
  FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d
    ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = '"Order Item"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1"""
AMOUNTS = 'SELECT "Order", "Amount" FROM "Order Item" ORDER BY 1'


def an_application_that_knows_one_name_writes(items: Scenario) -> None:
    write = items.application
    assert write('UPDATE "Order Item" SET "Amount" = 70 WHERE "Order" = 5 RETURNING "Amount"') == [
        (70,)
    ]
    assert write('INSERT INTO "Order Item" ("Order") VALUES (50) RETURNING "Amount"') == [(7,)]
    assert write('DELETE FROM "Order Item" WHERE "Order" = 50 RETURNING "Amount"') == [(7,)]


def test_an_application_that_changes_nothing_works_in_every_phase_and_its_rollback(
    scenario: MakeScenario, server: Target
) -> None:
    items = scenario(NUMBERED, WIDENING)
    assert items.check() == []
    before, rows = items.application(CATALOG), items.application(AMOUNTS)
    for phase in range(5):
        items.carry_out(phase)
        an_application_that_knows_one_name_writes(items)
        live = read(items.connection, labels_of(items.plan))
        assert compare(items.plan, phases_done=phase + 1, live=live) == []
        if phase in (2, 3):
            assert items.audit().categories == {"ok": 40}
    assert items.audit().categories == {"ok": 40}
    # All that the column had is there, but for its type.
    was = next(row for row in before if row[0] == "Amount")
    new = (was[0], "bigint", *was[2:9], ["amounts", "listed"])
    now = [row for row in items.application(CATALOG) if row[0] in ("Amount", "note")]
    assert now == [new, next(row for row in before if row[0] == "note")]
    items.application('UPDATE "Order Item" SET "Amount" = 71 WHERE "Order" = 6')
    for phase in (4, 3, 2, 1, 0):
        items.take_back(phase)
        an_application_that_knows_one_name_writes(items)
        live = read(items.connection, labels_of(items.plan))
        assert compare(items.plan, phases_done=phase, live=live) == []
    assert items.application(CATALOG) == before
    changed = {5: 70, 6: 71}
    assert items.application(AMOUNTS) == [(n, changed.get(n, was)) for n, was in rows]


def before_fingerprint(offers: Scenario) -> fingerprints.Fingerprint:
    """What a rehearsal compares with at its end."""
    before = fingerprints.fingerprint(offers.connection, offers.plan)
    fingerprints.begin(offers.connection, offers.plan)
    return before


def traffic_writes(offers: Scenario, statement: str) -> None:
    """As a rehearsal's traffic, whose writes are compared at its end."""
    offers.application(statement, application_name=fingerprints.TRAFFIC)


CENTS = plan_of(
    replace(PRICE, keeps_name=True),
    NAMES,
    NOTE,
    r.Derived(
        table=OFFER,
        column="is_priced",
        type="boolean",
        expression="coalesce({price} <> '{{}}', false)",
        writable=False,
    ),
)


def test_a_text_becomes_cents_under_its_name_and_comes_back_to_the_letter(
    scenario: MakeScenario, newest: Target
) -> None:
    offers = scenario(OFFERS, CENTS)
    assert offers.check() == []
    offers.application("UPDATE offer SET price = 'on request' WHERE id IN (7, 8)")
    before, write = offers.application(LEGACY), offers.application
    before_prices = before_fingerprint(offers)
    alone = has_new_columns_alone(offers.plan)
    assert alone is not None
    assert offers.application(alone.as_string()) == [(False,)]
    offers.carry_out(0, 1, 2)
    assert write("UPDATE offer SET price = '7.5' WHERE id = 2 RETURNING price_cents") == [(750,)]
    traffic_writes(offers, "UPDATE offer SET price = ' 9' WHERE id = 10")
    offers.carry_out(3)
    assert write("UPDATE offer SET price = 875 WHERE id = 2 RETURNING price_legacy") == [("8.75",)]
    # Who knows only the legacy value, by the name that it has now, is understood.
    assert write("UPDATE offer SET price_legacy = ' 9' WHERE id = 2 RETURNING price") == [(900,)]
    traffic_writes(offers, "UPDATE offer SET price = 1100 WHERE id = 11")
    report = offers.audit()
    by_column = {t.column: t.categories for t in report.translations}
    assert report.mismatched == 0
    assert by_column["price"].keys() == {"ok", "lossy", "unconvertible"}
    write(
        "SET session_replication_role = replica; UPDATE offer SET price = 5 WHERE id = 3",
    )
    assert offers.audit().categories["computed_differs"] == 1
    now = with_names_of_now(offers.connection, offers.plan)
    (table,) = now.tables
    assert refusal_to_repair(offers.connection, now, table) == ""
    repairing = RepairPlan(now, table, Selection(), direction="reverse", jobs=())
    assert count(offers.connection, repairing).writable == 1
    (cell,) = (
        c for c in cells_of_row(offers.connection, offers.plan, OFFER, ["3"]) if c.column == "price"
    )
    assert (cell.category, cell.new, cell.has_legacy) == ("computed_differs", "5", True)
    assert str(cell.legacy).startswith("0.75")
    write("SET session_replication_role = replica; UPDATE offer SET price = 75 WHERE id = 3")
    offers.carry_out(4)
    gone = cells_of_row(offers.connection, offers.plan, OFFER, ["3"])
    assert [(c.new, c.has_legacy) for c in gone if c.column == "price"] == [("75", False)]
    assert offers.application(alone.as_string()) == [(True,)]
    assert write("INSERT INTO offer (is_priced) VALUES (true) RETURNING price") == [(0,)]
    write("UPDATE offer SET price = 999 WHERE id = 4")
    traffic_writes(offers, "UPDATE offer SET price = 1200 WHERE id = 12")
    offers.take_back(4, 3, 2, 1, 0)
    after = {row[0]: row for row in offers.application(LEGACY)}
    changed = {2: " 9", 4: "9.99", 10: " 9", 11: "11.00", 12: "12.00"}
    assert [after[row[0]] for row in before] == [
        (row[0], changed.get(row[0], row[1]), *row[2:]) for row in before
    ]
    verdict = fingerprints.end(offers.connection, offers.plan, before_prices)
    assert [
        line for line in verdict.data if " 10:" in line or " 11:" in line or " 12:" in line
    ] == []
    assert verdict.catalog == []


# What goes with a column and not with its name: how it is made, taken away, and named.
DEPENDENTS = {
    "a view": ("CREATE VIEW dear AS SELECT price FROM offer", "DROP VIEW dear", "view dear"),
    "a rule": (
        "CREATE RULE cheap AS ON UPDATE TO offer WHERE new.price = '0' DO ALSO SELECT 1",
        "DROP RULE cheap ON offer",
        "cheap on UPDATE of offer",
    ),
    "a policy": (
        "CREATE POLICY priced ON offer USING (price IS NOT NULL)",
        "DROP POLICY priced ON offer",
        "policy priced",
    ),
    "a generated column": (
        "ALTER TABLE offer ADD digits integer GENERATED ALWAYS AS (length(price)) STORED",
        "ALTER TABLE offer DROP digits",
        "column digits",
    ),
    "a publication's list of columns": (
        "CREATE PUBLICATION listed FOR TABLE offer (id, price)",
        "DROP PUBLICATION listed",
        "publication listed",
    ),
    "a trigger of the column": (
        "CREATE TRIGGER seen AFTER UPDATE OF price ON offer FOR EACH ROW"
        " EXECUTE FUNCTION pg_catalog.tsvector_update_trigger()",
        "DROP TRIGGER seen ON offer",
        "trigger seen",
    ),
    "a foreign key": (
        "CREATE TABLE prices (price text PRIMARY KEY);"
        "ALTER TABLE offer ADD CONSTRAINT known FOREIGN KEY (price) REFERENCES prices NOT VALID",
        "DROP TABLE prices CASCADE",
        "constraint known",
    ),
    "an owned sequence": (
        "CREATE SEQUENCE numbers OWNED BY offer.price",
        "DROP SEQUENCE numbers",
        "sequence numbers",
    ),
    "a column of the name that the legacy one gets": (
        "ALTER TABLE offer ADD price_legacy text",
        "ALTER TABLE offer DROP price_legacy",
        "column price_legacy",
    ),
}


def test_a_dependent_of_a_column_whose_name_goes_is_refused_before_phase_0(
    scenario: MakeScenario, server: Target
) -> None:
    offers = scenario(OFFERS, plan_of(replace(PRICE, keeps_name=True)))
    offers.application(*(make for make, _, _ in DEPENDENTS.values()))
    with pytest.raises(RefusedByPreflight):
        offers.carry_out(0)
    refused = " ".join(i.evidence for i in offers.failing(0) if i.level == "blocks")
    assert [what for what, (_, _, name) in DEPENDENTS.items() if name not in refused] == []
    offers.application(*(take_away for _, take_away, _ in DEPENDENTS.values()))
    assert [item for item in offers.failing(0) if item.level == "blocks"] == []


def test_decisions_about_values_count_under_either_name(
    scenario: MakeScenario, newest: Target
) -> None:
    plan = plan_of(replace(PRICE, keeps_name=True, unconvertible="quarantine"))
    (declared,) = plan.conversions_of(OFFER)
    offers = scenario(OFFERS + "UPDATE offer SET price = 'free' WHERE id = 7;", plan)
    offers.carry_out(0, 1)
    decisions = {'["free"]': {"price_cents": "0"}, '["gift"]': {"price_cents": "1"}}
    decide_values(offers.connection, plan, declared, decisions, reviewer="ada")
    offers.carry_out(2, 3)
    assert offers.audit().mismatched == 0
    free = "SELECT price, price_legacy FROM offer WHERE id = 7"
    assert offers.application(free) == [(0, "free")]
    gift = "UPDATE offer SET price_legacy = 'gift' WHERE id = 8 RETURNING price"
    assert offers.application(gift) == [(1,)]
    listed = unconvertible_values(offers.connection, plan, declared)
    assert {(v.text, v.rows, v.is_open) for v in listed} == {("free", 1, False), ("gift", 1, False)}
    offers.carry_out(4)
    offers.take_back(4, 3, 2)
    assert offers.application("SELECT price FROM offer WHERE id IN (7, 8) ORDER BY id") == [
        ("free",),
        ("gift",),
    ]
