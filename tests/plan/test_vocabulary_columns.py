"""A column that holds the values of a vocabulary."""

from typing import Any

import pytest
from psycopg import errors

from rollout import plan as r
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.test_vocabularies import EACH, ENUM, ORDERS, STATES, plan_of
from tests.schemas import MakeScenario

TYPE = {"ToEnum": "order_state", "ToCheck": "character varying(20)"}
COLUMN = """
SELECT format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid),
       ARRAY(SELECT conname || convalidated FROM pg_constraint
             WHERE conrelid = attrelid AND contype = 'c'), to_regtype('order_state') IS NOT NULL
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE attrelid = '"order"'::regclass AND attname = 'state'"""


@EACH
def test_texts_become_the_values_that_they_mean_and_come_back_to_the_letter(
    vocabulary: r.ToEnum | r.ToCheck, scenario: MakeScenario, server: Target
) -> None:
    orders = scenario(ORDERS, plan_of(vocabulary))
    assert orders.check() == []
    before, rows = schema_of(orders.target), orders.application(STATES)
    for phase in range(5):
        orders.carry_out(phase)
        live = read(orders.connection, labels_of(orders.plan))
        assert compare(orders.plan, phases_done=phase + 1, live=live) == []
        written = """INSERT INTO "order" (state) VALUES ('sent') RETURNING state::text"""
        assert orders.application(written) == [("sent",)]
        assert orders.application('DELETE FROM "order" WHERE id > 70') == []
    is_enum = isinstance(vocabulary, r.ToEnum)
    type_ = TYPE[type(vocabulary).__name__]
    checks = [] if is_enum else ["order_state_checktrue"]
    assert orders.application(COLUMN) == [(type_, f"'new'::{type_}", checks, is_enum)]
    meanings = {" NEW": "new", "Payed": "paid", "": None}
    assert orders.application(STATES) == [(id_, meanings.get(t, t)) for id_, t in rows]
    with pytest.raises(errors.InvalidTextRepresentation if is_enum else errors.CheckViolation):
        orders.application("""INSERT INTO "order" (state) VALUES ('lost')""")
    quoted = """INSERT INTO "order" (state) VALUES ('it''s 50% {off}') RETURNING id"""
    ((odd,),) = orders.application(quoted)
    for phase in (4, 3, 2, 1, 0):
        orders.take_back(phase)
        live = read(orders.connection, labels_of(orders.plan))
        assert compare(orders.plan, phases_done=phase, live=live) == []
    assert schema_of(orders.target) == before
    assert orders.application(STATES) == [*rows, (odd, "it's 50% {off}")]


def test_a_required_vocabulary_of_odd_names_in_a_partitioned_table_of_another_schema(
    scenario: MakeScenario, newest: Target
) -> None:
    listed = r.Table(
        schema="Odd shop",
        name="The %orders",
        key=("Re gion", "no%"),
        columns={
            "Re gion": r.Column("text", null=False),
            "no%": r.Column("integer", null=False),
            "St'ate": r.Column("text", null=False),
        },
        partitioned=True,
    )
    words: dict[str, Any] = {
        "table": listed,
        "column": "St'ate",
        "values": ("open", "shut"),
        "synonyms": {"": "open"},
    }
    for vocabulary in (
        r.ToEnum(**words, type="shop_state"),
        r.ToCheck(**words, name='The "check"'),
    ):
        orders = scenario(
            'CREATE SCHEMA "Odd shop"; CREATE TABLE "Odd shop"."The %orders" ("Re gion" text,'
            ' "no%" integer, "St\'ate" text NOT NULL, PRIMARY KEY ("Re gion", "no%"))'
            ' PARTITION BY LIST ("Re gion"); CREATE TABLE "Odd shop".north PARTITION OF'
            ' "Odd shop"."The %orders" FOR VALUES IN (\'n\');'
            ' INSERT INTO "Odd shop"."The %orders"'
            " SELECT 'n', g, (ARRAY['open', 'Shut ', ''])[1 + g % 3] FROM generate_series(1, 30) g",
            plan_of(vocabulary),
        )
        assert orders.check() == []
        states = 'SELECT "no%", "St\'ate"::text FROM "Odd shop"."The %orders" ORDER BY 1'
        rows = orders.application(states)
        orders.carry_out(0, 1, 2, 3, 4)
        assert {state for _, state in orders.application(states)} == {"open", "shut"}
        orders.take_back(4, 3, 2, 1, 0)
        assert orders.application(states) == rows


def test_a_value_added_to_the_type_later_is_a_value_of_the_column(
    scenario: MakeScenario, newest: Target
) -> None:
    orders = scenario(ORDERS, plan_of(ENUM))
    orders.carry_out(0, 1, 2, 3, 4)
    orders.application("ALTER TYPE order_state ADD VALUE 'back'")
    added = """INSERT INTO "order" (state) VALUES ('back') RETURNING id"""
    ((id_,),) = orders.application(added)
    orders.take_back(4)
    assert orders.application(f'SELECT state FROM "order" WHERE id = {id_}') == [("back",)]
