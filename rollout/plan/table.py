"""A table that a plan touches, as it looks before the rollout."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from psycopg import sql


@dataclass(frozen=True)
class Column:
    """A column's type as PostgreSQL's ``format_type`` prints it, and whether it may be null."""

    type: str
    """As ``format_type`` prints it, such as ``character varying(20)``."""
    null: bool = True
    """Whether it may be null."""


def label_sql(namespace: str = "n", relation: str = "c") -> str:
    """SQL of a relation's label, over its rows of ``pg_namespace`` and ``pg_class``."""
    return (
        f"CASE WHEN {namespace}.nspname = 'public' THEN {relation}.relname"
        f" ELSE {namespace}.nspname || '.' || {relation}.relname END"
    )


# The columns of tables: table label to column name to column.
Shape = dict[str, dict[str, Column]]


class Named:
    """What has a name in a schema: how SQL and people write it."""

    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        """How people read the name; only a schema other than public is worth saying."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class Table(Named):
    """A table of the application: its name, its primary key, and the columns the plan relies on.

    ``partitioned`` says that it has partitions: their indexes are built and dropped otherwise.
    """

    name: str
    """Without its schema."""
    key: tuple[str, ...]
    """The columns of its primary key."""
    columns: Mapping[str, Column] = field(hash=False)
    """The key and the columns that the plan reads, by name."""
    schema: str = "public"
    """The schema of the table."""
    partitioned: bool = False
    """Whether it has partitions."""

    @property
    def regclass(self) -> sql.Composable:
        """The table as a ``regclass``; NULL where it is absent."""
        return sql.SQL("to_regclass({})").format(sql.Literal(self.identifier.as_string()))

    @property
    def relations(self) -> sql.Composable:
        """SQL of a query of the OIDs of the table and of its partitions of all levels."""
        return sql.SQL(
            "SELECT {0}::oid AS oid UNION SELECT relid FROM pg_partition_tree({0})"
        ).format(self.regclass)

    def renamed(self, names: Mapping[str, str]) -> "Table":
        """The table with columns under other names; ``names`` gives the new name by the old."""
        return replace(
            self, columns={names.get(c, c): column for c, column in self.columns.items()}
        )

    def key_texts(self, alias: str) -> sql.Composed:
        """SQL of the key's parts as an array of texts, qualified by an alias."""
        return sql.SQL("ARRAY[{}]").format(
            sql.SQL(", ").join(
                sql.SQL("{}::text").format(sql.Identifier(alias, column)) for column in self.key
            )
        )

    def key_of(self, alias: str) -> sql.Composable:
        """The key columns, comma separated, qualified by an alias."""
        return sql.SQL(", ").join(sql.Identifier(alias, column) for column in self.key)
