"""Decisions about values in what a plan asks and keeps."""

from dataclasses import replace

from rollout import plan as r
from rollout.engine.target import Target
from rollout.engine.value_decisions import (
    Decision,
    decide_values,
    unconvertible_values,
)
from tests.engine.test_value_decisions import decide
from tests.plan.test_conversions import OFFERS, PRICE
from tests.schemas import MakeScenario, plan_of


def test_the_preflight_of_every_phase_leaves_out_values_that_people_have_decided(
    scenario: MakeScenario, newest: Target
) -> None:
    asking = replace(PRICE, unconvertible="quarantine")
    spoilt = "UPDATE offer SET price = 'on request' WHERE id = 7;"
    offers = scenario(
        OFFERS + spoilt + "UPDATE offer SET price = 'free' WHERE id = 10;", plan_of(asking)
    )
    assert offers.item(0, "expressions").level == "warns"
    decide(offers, asking, free={"price_cents": "0"})
    assert "“on request”" in offers.item(0, "expressions").evidence
    decide(offers, asking, on_request={"price_cents": None})
    offers.carry_out(0, 1)
    tried = offers.item(2, "expressions")
    assert tried.level == "pass"
    assert tried.evidence == "offer.price_cents: no row without a decision raises an error"
    offers.carry_out(2)
    assert offers.item(3, "expressions").level == "pass"
    offers.application("INSERT INTO offer (price) VALUES ('10m')")
    assert offers.item(3, "expressions").level == "blocks"
    offers.application("DELETE FROM offer WHERE price = '10m'")
    offers.carry_out(3, 4)
    offers.take_back(4, 3, 2, 1, 0)


def test_decisions_hold_in_a_partitioned_table_of_odd_names_with_a_key_of_two_columns(
    scenario: MakeScenario, newest: Target
) -> None:
    listed = r.Table(
        name='Offer "List"',
        key=("Re gion", "no%"),
        columns={
            "Re gion": r.Column("text", null=False),
            "no%": r.Column("integer", null=False),
            "From": r.Column("text"),
            "to'": r.Column("text"),
        },
        partitioned=True,
    )
    span = r.Convert(
        table=listed,
        legacy=("From", "to'"),
        columns={"First %": r.Column("date"), 'Last "day"': r.Column("date")},
        forward={"First %": "{From}::date", 'Last "day"': "{to'}::date"},
        backward={"From": "{First %}", "to'": '{Last "day"}'},
        required=False,
    )
    offers = scenario(
        'CREATE TABLE "Offer ""List""" ("Re gion" text, "no%" integer, "From" text, "to\'" text,'
        ' PRIMARY KEY ("Re gion", "no%")) PARTITION BY LIST ("Re gion");'
        'CREATE TABLE north PARTITION OF "Offer ""List""" FOR VALUES IN (\'n\');'
        'CREATE TABLE south PARTITION OF "Offer ""List""" FOR VALUES IN (\'s\');'
        'INSERT INTO "Offer ""List""" SELECT r, n, \'2024-01-01\', CASE n WHEN 3 THEN \'open\''
        " WHEN 4 THEN NULL ELSE '2024-02-01' END FROM generate_series(1, 9) AS n,"
        " unnest('{n,s}'::text[]) AS r;"
        'UPDATE "Offer ""List""" SET "From" = NULL, "to\'" = \'soon\' WHERE "no%" = 5',
        plan_of(span, tables=(listed,)),
    )
    values = unconvertible_values(offers.connection, offers.plan, span)
    assert [(v.legacy, v.rows, v.examples) for v in values] == [
        (["2024-01-01", "open"], 2, ("n,3", "s,3")),
        ([None, "soon"], 2, ("n,5", "s,5")),
    ]
    decisions: dict[str, Decision] = {
        values[0].source: {"First %": "2024-01-01", 'Last "day"': "9999-12-31"},
        values[1].source: {"First %": None, 'Last "day"': None},
    }
    decide_values(offers.connection, offers.plan, span, decisions, reviewer="lena")
    rows = 'SELECT * FROM "Offer ""List""" ORDER BY 1, 2'
    before = offers.application(rows)
    offers.carry_out(0, 1, 2)
    new = 'SELECT "First %"::text, "Last ""day"""::text FROM "Offer ""List"""'
    assert offers.application(f'{new} WHERE "no%" = 3') == [("2024-01-01", "9999-12-31")] * 2
    assert offers.audit().categories == {"ok": 14, "lossy": 2, "unconvertible": 2}
    written = "INSERT INTO \"Offer \"\"List\"\"\" VALUES ('s', 10, '2024-01-01', 'open')"
    assert offers.application(f'{written} RETURNING "Last ""day"""::text') == [("9999-12-31",)]
    offers.carry_out(3, 4)
    assert offers.audit().categories == {"ok": 14, "lossy": 5}
    offers.take_back(4, 3, 2, 1, 0)
    assert [row for row in offers.application(rows) if row[1] < 10] == before
