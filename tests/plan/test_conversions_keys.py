"""Convert on tables with each kind of key: forward, back, and nothing of it remains."""

from dataclasses import dataclass, replace

import pytest
from psycopg import sql

from rollout import plan as r
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.test_conversions import PRICE
from tests.schemas import MakeScenario, Scenario, plan_of, table

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Keyed:
    """A table's name, key and partitions, and the SQL of a row's key from the number ``g``."""

    name: str
    columns: dict[str, str]
    values: str
    partitions: str = ""

    @property
    def quoted(self) -> str:
        return sql.Identifier(self.name).as_string()

    @property
    def sql(self) -> str:
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in self.columns.items())
        key = ", ".join(f'"{name}"' for name in self.columns)
        by, _, parts = self.partitions.partition(";")
        return f"""
CREATE TABLE {self.quoted} ({columns}, price text, PRIMARY KEY ({key})) {by};
{parts}
INSERT INTO {self.quoted}
  SELECT {self.values}, (ARRAY[' ' || g, (g / 4.0)::text, 'free'])[1 + g % 3]
  FROM generate_series(1, 60) g;"""

    @property
    def plan(self) -> r.Plan:
        key = {name: r.Column(type_, null=False) for name, type_ in self.columns.items()}
        of = replace(
            table(self.name, key=tuple(key), **key, price="text"),
            partitioned=bool(self.partitions),
        )
        return plan_of(replace(PRICE, table=of))


KEYED = {
    "bigint": Keyed("offer", {"id": "bigint"}, "g"),
    "uuid": Keyed("offer", {"id": "uuid"}, "md5(g::text)::uuid"),
    "text": Keyed("offer", {"code": "text"}, "'n%' || g"),
    "composite": Keyed(
        'Offer "List',
        {"Re gion": "text", "no%": "integer"},
        "(ARRAY['n', 's'])[1 + g % 2], g",
        """PARTITION BY LIST ("Re gion");
CREATE TABLE north PARTITION OF "Offer ""List" FOR VALUES IN ('n');
CREATE TABLE south PARTITION OF "Offer ""List" FOR VALUES IN ('s');""",
    ),
}


@pytest.mark.parametrize("kind", KEYED)
def test_a_conversion_goes_forward_and_back_whatever_the_key_is(
    scenario: MakeScenario, server: Target, kind: str
) -> None:
    keyed = KEYED[kind]
    offers = scenario(keyed.sql, keyed.plan)
    assert offers.check() == []
    name, rows = keyed.quoted, f"SELECT * FROM {keyed.quoted} ORDER BY 1, 2"
    schema, before = schema_of(offers.target), offers.application(rows)
    offers.carry_out(0, 1, 2)
    both_write(offers, name)
    offers.carry_out(3)
    both_write(offers, name)
    assert offers.audit().mismatched == 0
    offers.carry_out(4)
    assert offers.audit().mismatched == 0
    offers.take_back(4)
    both_write(offers, name)
    offers.take_back(3, 2, 1, 0)
    assert schema_of(offers.target) == schema
    assert offers.application(rows) == before


def both_write(offers: Scenario, name: str) -> None:
    """Each release writes rows of its own, the other side follows, and the text comes back."""
    cents = f"UPDATE {name} SET price_cents = 4200 WHERE price = 'free' RETURNING price"
    assert set(offers.application(cents)) == {("42.00",)}
    text = f"UPDATE {name} SET price = 'free' WHERE price = '42.00' RETURNING price_cents"
    assert set(offers.application(text)) == {(None,)}
