"""Tables with each kind of key, partitioned and with names that must be quoted, of one content."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg import sql

from rollout import plan as r
from tests.engine.test_every_phase import schema_of
from tests.schemas import Scenario, table


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
    def rows(self) -> str:
        """A query of every row as it was at the beginning."""
        return (
            f'SELECT {self.key}, price, "Agent %", "e-mail" FROM {self.quoted} ORDER BY {self.key}'
        )

    @property
    def key(self) -> str:
        return ", ".join(f'"{name}"' for name in self.columns)

    @property
    def sql(self) -> str:
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in self.columns.items())
        by, _, parts = self.partitions.partition(";")
        return f"""
CREATE TABLE {self.quoted} (
  {columns}, price text, "Agent %" text, "e-mail" text, PRIMARY KEY ({self.key})) {by};
{parts}
INSERT INTO {self.quoted}
  SELECT {self.values}, (ARRAY[' ' || g, (g / 4.0)::text, 'free'])[1 + g % 3],
         CASE WHEN g = 7 THEN 'Own' ELSE 'Agent ' || g % 4 END, 'a' || g % 4 || '@x'
  FROM generate_series(1, 60) g;"""

    @property
    def table(self) -> r.Table:
        key = {name: r.Column(type_, null=False) for name, type_ in self.columns.items()}
        texts = dict.fromkeys(("price", "Agent %", "e-mail"), "text")
        return replace(
            table(self.name, key=tuple(key), **key, **texts), partitioned=bool(self.partitions)
        )


KEYED = {
    "bigint": Keyed("offer", {"id": "bigint"}, "g"),
    "uuid": Keyed("offer", {"id": "uuid"}, "md5(g::text)::uuid"),
    "text": Keyed("offer", {"code": "text"}, "'n%' || g"),
    "partitioned uuid": Keyed(
        "Of {fer}s",
        {"I d": "uuid"},
        "md5(g::text)::uuid",
        """PARTITION BY HASH ("I d");
CREATE TABLE even PARTITION OF "Of {fer}s" FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE odd PARTITION OF "Of {fer}s" FOR VALUES WITH (MODULUS 2, REMAINDER 1);""",
    ),
    "composite": Keyed(
        'Offer "List',
        {"Re gion": "text", "no%": "integer"},
        "(ARRAY['n', 's'])[1 + g % 2], g",
        """PARTITION BY LIST ("Re gion");
CREATE TABLE north PARTITION OF "Offer ""List" FOR VALUES IN ('n');
CREATE TABLE south PARTITION OF "Offer ""List" FOR VALUES IN ('s');""",
    ),
}


def goes_there_and_back(offers: Scenario, keyed: Keyed, both_write: Callable[[], None]) -> None:
    """All phases and back, while both releases write; then nothing of it remains."""
    assert offers.check() == []
    schema, before = schema_of(offers.target), offers.application(keyed.rows)
    offers.carry_out(0, 1, 2)
    both_write()
    offers.carry_out(3)
    both_write()
    assert offers.audit().mismatched == 0
    offers.carry_out(4)
    assert offers.audit().mismatched == 0
    offers.take_back(4)
    both_write()
    offers.take_back(3, 2, 1, 0)
    assert schema_of(offers.target) == schema
    assert offers.application(keyed.rows) == before
