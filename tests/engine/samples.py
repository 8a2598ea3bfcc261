"""Small legacy tables in several shapes, a plan over each, and an application that writes them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from psycopg import sql

from rollout import plan as r
from rollout.engine.target import Connection
from tests.engine.sample_plans import plan_over

Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A legacy table with a key, two free texts and a moment; ``names`` says what they are called.

    ``kind`` becomes a required lookup whose blanks have a row, ``state`` one whose blanks have
    none; whether the row is open, and since when, is derived from ``state``.
    """

    name: str
    schema: str = "public"
    table_name: str = "things"
    key_types: Mapping[str, str] = field(default_factory=lambda: {"id": "bigint"})
    make_key: Callable[[int], Key] = lambda number: (number,)
    names: Mapping[str, str] = field(default_factory=dict)
    text_type: str = "text"
    text_null: bool = True
    synonyms: Mapping[str, str] = field(default_factory=dict)
    """Of ``kind``."""
    unknown: Literal["create", "null"] = "create"
    """Of ``state``."""
    partition_by: str = ""
    partitions: Mapping[str, str] = field(default_factory=dict)
    """Name to bounds."""

    def __str__(self) -> str:
        return self.name

    def column(self, what: str) -> str:
        return self.names.get(what, what)

    @cached_property
    def table(self) -> r.Table:
        return r.Table(
            name=self.table_name,
            schema=self.schema,
            partitioned=bool(self.partitions),
            key=tuple(self.key_types),
            columns={
                **{name: r.Column(type_, null=False) for name, type_ in self.key_types.items()},
                self.column("kind"): r.Column(self.text_type, self.text_null),
                self.column("state"): r.Column(self.text_type, self.text_null),
                self.column("made_at"): r.Column("timestamp with time zone", null=False),
            },
        )

    @cached_property
    def kind(self) -> r.Lookup:
        return r.Lookup(
            table=self.table,
            legacy=self.column("kind"),
            column=self.column("kind_id"),
            lookup_table=self.column("kinds"),
            synonyms=self.synonyms,
            key="integer",
        )

    @cached_property
    def state(self) -> r.Lookup:
        return r.Lookup(
            table=self.table,
            legacy=self.column("state"),
            column=self.column("state_id"),
            lookup_table=self.column("states"),
            blank=None,
            required=False,
            unknown=self.unknown,
        )

    @cached_property
    def is_open(self) -> r.Derived:
        return r.Derived(
            table=self.table,
            column=self.column("is_open"),
            type="boolean",
            expression=self._open,
            writable=True,
        )

    @cached_property
    def opened_at(self) -> r.Derived:
        return r.Derived(
            table=self.table,
            column=self.column("opened_at"),
            type="timestamp with time zone",
            expression=f"CASE WHEN {self._open} THEN {{{self.column('made_at')}}} END",
            required=False,
            writable=True,
        )

    @property
    def _open(self) -> str:
        return f"coalesce(lower(btrim({{{self.column('state')}}})) = 'open', false)"

    @cached_property
    def plan(self) -> r.Plan:
        return plan_over(self)

    def create(self, connection: Connection) -> None:
        """Make the legacy table, empty."""
        connection.execute(
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema))
        )
        connection.execute(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({})){}").format(
                self.table.identifier,
                sql.SQL(", ").join(
                    sql.SQL("{} {}{}").format(
                        sql.Identifier(name),
                        sql.SQL(column.type),
                        sql.SQL(" NOT NULL DEFAULT '2024-05-06 07:08:09+00'")
                        if name == self.column("made_at")
                        else sql.SQL("" if column.null else " NOT NULL"),
                    )
                    for name, column in self.table.columns.items()
                ),
                sql.SQL(", ").join(map(sql.Identifier, self.table.key)),
                sql.SQL(f" PARTITION BY {self.partition_by}" if self.partition_by else ""),
            )
        )
        for name, bounds in self.partitions.items():
            self.add_partition(connection, name, bounds)
        index = self.column("legacy_idx")
        # As the engine builds it again, so that nothing differs after the way back.
        only = "ONLY " if self.partitions else ""
        self._index(connection, index, sql.SQL(only) + self.table.identifier)
        for name in self.partitions:
            self._index(connection, f"{index}_{name}", sql.Identifier(self.schema, name))
            connection.execute(
                sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(
                    sql.Identifier(self.schema, index),
                    sql.Identifier(self.schema, f"{index}_{name}"),
                )
            )

    def _index(self, connection: Connection, name: str, on: sql.Composable) -> None:
        connection.execute(
            sql.SQL("CREATE INDEX {} ON {} ({}, {})").format(
                sql.Identifier(name),
                on,
                sql.Identifier(self.column("kind")),
                sql.Identifier(self.column("state")),
            )
        )

    def add_partition(self, connection: Connection, name: str, bounds: str) -> None:
        connection.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES {}").format(
                sql.Identifier(self.schema, name), self.table.identifier, sql.SQL(bounds)
            )
        )

    def insert(self, connection: Connection, number: int, **values: Any) -> None:
        """Insert row ``number``; the values are given by what they are, not by column name."""
        row = dict(zip(self.table.key, self.make_key(number), strict=True))
        row |= {self.column(what): value for what, value in values.items()}
        connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                self.table.identifier,
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Literal, row.values())),
            )
        )

    def update(self, connection: Connection, number: int, **values: Any) -> None:
        connection.execute(
            sql.SQL("UPDATE {} AS t SET {} WHERE {}").format(
                self.table.identifier,
                sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(self.column(what)), sql.Literal(value))
                    for what, value in values.items()
                ),
                self.is_row(number),
            )
        )

    def damage(self, connection: Connection, number: int, **values: Any) -> None:
        """As ``update``, but no trigger sees it."""
        with past_triggers(connection):
            self.update(connection, number, **values)

    def delete(self, connection: Connection, number: int) -> None:
        connection.execute(
            sql.SQL("DELETE FROM {} AS t WHERE {}").format(
                self.table.identifier, self.is_row(number)
            )
        )

    def is_row(self, number: int) -> sql.Composable:
        return sql.SQL("({}) = ({})").format(
            self.table.key_of("t"), sql.SQL(", ").join(map(sql.Literal, self.make_key(number)))
        )

    def row(self, connection: Connection, number: int, *what: str) -> Any:
        """One value of a row, or several as a tuple."""
        values = connection.execute(
            sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(
                sql.SQL(", ").join(sql.Identifier("t", self.column(name)) for name in what),
                self.table.identifier,
                self.is_row(number),
            )
        ).fetchone()
        assert values is not None, f"row {number} is there"
        return values[0] if len(what) == 1 else values

    def texts(self, connection: Connection) -> dict[Key, tuple[str | None, str | None]]:
        """The legacy texts of every row, by key."""
        rows = connection.execute(
            sql.SQL("SELECT {}, t.{}, t.{} FROM {} AS t").format(
                self.table.key_of("t"),
                sql.Identifier(self.column("kind")),
                sql.Identifier(self.column("state")),
                self.table.identifier,
            )
        ).fetchall()
        return {tuple(key): (kind, state) for *key, kind, state in rows}

    def name_of(self, connection: Connection, number: int, lookup: r.Lookup | None = None) -> Any:
        """The name of the lookup row that a row points to, None where it points to none."""
        lookup = lookup or self.kind
        row = connection.execute(
            sql.SQL("SELECT l.name FROM {} AS t LEFT JOIN {} AS l ON l.id = t.{} WHERE {}").format(
                self.table.identifier,
                lookup.lookup_sql,
                sql.Identifier(lookup.column),
                self.is_row(number),
            )
        ).fetchone()
        assert row is not None, f"row {number} is there"
        return row[0]

    def lookup_id(self, connection: Connection, name: str, lookup: r.Lookup | None = None) -> int:
        """The id of a lookup row, made when it is not there, as an application would."""
        lookup = lookup or self.kind
        connection.execute(
            sql.SQL("INSERT INTO {} (name) VALUES ({}) ON CONFLICT DO NOTHING").format(
                lookup.lookup_sql, sql.Literal(name)
            )
        )
        row = connection.execute(
            sql.SQL("SELECT id FROM {} WHERE name = {}").format(
                lookup.lookup_sql, sql.Literal(name)
            )
        ).fetchone()
        assert row is not None
        return int(row[0])

    def count(self, connection: Connection, condition: str = "true") -> int:
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {} AS t WHERE {}").format(
                self.table.identifier, sql.SQL(condition)
            )
        ).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def past_triggers(connection: Connection) -> Iterator[None]:
    """A transaction whose writes no trigger sees: damage, as it comes from elsewhere."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        yield


BIGINT = Sample(name="bigint")
UUIDS = Sample(
    name="uuid",
    key_types={"id": "uuid"},
    make_key=lambda number: (UUID(int=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128),),
)
TEXTS = Sample(
    name="text", key_types={"code": "text"}, make_key=lambda number: (f"l'\"été\\ {number}",)
)
COMPOSITE = Sample(
    name="composite",
    schema="elsewhere",
    key_types={"place": "integer", "code": "text"},
    make_key=lambda number: (number // 7, f"part {number % 7}"),
)
ODD = Sample(
    name="odd",
    schema="Mixed Case",
    table_name='Ta.ble"x',
    key_types={'Ke"y': "bigint"},
    names={
        "kind": 'Ki"nd',
        "kind_id": "Kind 'id",
        "kinds": 'All "kinds" of things',
        "state": "état",
        "state_id": "état %s",
        "is_open": "Is open?",
        "made_at": "user",
        "opened_at": "select",
        "legacy_idx": 'Old "index"',
    },
)
LONG = Sample(
    name="long",
    table_name="things_with_a_name_that_goes_on_for_as_long_as_postgresql_lets",
    names={
        "kind": "the_kind_of_thing_that_somebody_typed_into_the_form_years_ago",
        "kind_id": "the_kind_of_thing_that_somebody_typed_into_the_form_years_id",
        "kinds": "kinds_of_things_that_somebody_typed_into_the_form_years_ago",
        "state_id": "the_state_of_thing_that_somebody_typed_into_the_form_years_id",
        "states": "states_of_things_that_somebody_typed_into_the_form_years_ago",
        "kind_idx": "things_with_a_name_that_goes_on_for_as_long_as_postgres_idx",
    },
)
VARCHARS = Sample(name="varchar", text_type="character varying(300)")
REQUIRED = Sample(name="required", text_type="character varying(24)", text_null=False)
"""As Django makes a CharField; it cannot hold NULL, nor the longest of ``DIRTY``."""
PARTITIONED = Sample(
    name="partitioned",
    schema="parted",
    key_types={"place": "integer", "id": "bigint"},
    make_key=lambda number: (number % 20, number),
    partition_by="RANGE (place)",
    partitions={"early": "FROM (MINVALUE) TO (7)", "late": "FROM (7) TO (MAXVALUE)"},
)
LISTED = Sample(
    name="listed",
    key_types={"id": "uuid", "Re gion": "text"},
    make_key=lambda number: (UUID(int=number), ("north", "south", "it's far")[number % 3]),
    partition_by='LIST ("Re gion")',
    partitions={'No"rth': "IN ('north')", "others": "IN ('south', 'it''s far')"},
)
SAMPLES = (BIGINT, UUIDS, TEXTS, COMPOSITE, ODD, LONG, VARCHARS, PARTITIONED, LISTED)

DIRTY = (
    *("House", "house", " HOUSE ", "House", "Ho  use", "ho\u00a0use", None, "", "  ", "\u00a0"),
    *("Unspecified", "unspecified", "O'Hara's \"inn\"", "back\\slash", "100 % {sure} %s", "été"),
    *("ÉTÉ", "マンション", "一戸建て\u3000", "open", " OPEN", "open\n", "a\tb", "x" * 200, "NULL"),
)
"""Texts as people type them, all of which have a lookup row or are blank."""
