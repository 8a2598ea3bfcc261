"""Extractions: a group of columns that becomes rows of a table of its own.

To the engine an extraction is a conversion of one new column: its value is the row that has the
group, and the way back reads the row.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from psycopg import sql

from rollout.plan.conversions import Conversion, cast
from rollout.plan.names import code, identifier, in_target
from rollout.plan.table import Column, Table
from rollout.plan.translations import key_type

# Types of which an empty value counts as none, as Django writes one that it has no value for.
_TEXT = re.compile(r"(text|character varying|character|citext)\b.*")
_ROW = "extracted"


@dataclass(frozen=True, kw_only=True)
class Extract(Conversion):
    """A group of legacy columns that becomes rows of a new table, and a foreign key to them.

    Rows with the same values in ``key`` mean the same row of the new table. A group that has no
    value in ``key`` has a row of its own; one that has no value at all has none. NULL and the empty
    text are no value; ``required`` must be false where such rows exist.

    ``conflicts`` is what becomes of a key that has more than one group of values: ``refuse`` blocks
    phase 0; ``newest`` takes the values of the row with the greatest value in the column
    ``newest``, ``most_frequent`` those that most rows have; ``each`` gives every group a row;
    ``decide`` takes what people decide about each key, and those of most rows until then. What a
    row held instead is *lossy* in audits, and comes back to the letter.

    From the dual write on a write of either side leads. Who writes legacy columns changes the row
    of that key, or makes it; ``each`` only makes rows. Who changes a row of the new table changes
    the legacy columns of all rows that point to it.

    Where ``key`` is the key of ``table``, the table is split: each row has a row of its own, whose
    ``id`` is the row's key. A row without a value has none, unless ``required``.
    """

    table: Table
    """The table of the columns."""
    legacy: tuple[str, ...]
    """The legacy columns."""
    into: str
    """The new table, in the schema of ``table``."""
    column: str
    """The new column, a foreign key."""
    key: tuple[str, ...]
    """The legacy columns by which rows mean the same row of the new table, or the table's key."""
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Legacy column to its name in the new table, where that is another one."""
    conflicts: Literal["refuse", "newest", "most_frequent", "each", "decide"] = "refuse"
    """What becomes of a key with more than one group of values."""
    newest: str = ""
    """The column of ``table`` that says which row is the newest."""
    required: bool = True
    """Whether the new column becomes NOT NULL."""
    id_type: Literal["", "smallint", "integer", "bigint"] = ""
    """The type of the new rows' ids; empty for the project's ``DEFAULT_AUTO_FIELD``, or for that of
    the table's key."""

    # Nobody but the engine writes the expressions.
    is_tried = False

    def renamed(self, table: Table, names: Mapping[str, str]) -> "Extract":
        return replace(
            self,
            table=table,
            legacy=tuple(names.get(c, c) for c in self.legacy),
            key=tuple(names.get(c, c) for c in self.key),
            columns={names.get(c, c): name for c, name in self.columns.items()},
            newest=names.get(self.newest, self.newest),
        )

    @property
    def key_type(self) -> str:
        """The type of the new rows' ids, and of the new column."""
        return self.of_legacy(self.key[0]).type if self.is_split else key_type(self.id_type)

    @property
    def is_split(self) -> bool:
        """Whether each row has a row of its own, of the same key."""
        return bool(self.key) and self.key == self.table.key

    @property
    def lookup_table(self) -> str:
        """The table of the rows, as a lookup calls it."""
        return self.into

    @property
    def lookup_sql(self) -> sql.Identifier:
        return sql.Identifier(self.table.schema, self.into)

    @property
    def lookup_label(self) -> str:
        return Table(name=self.into, schema=self.table.schema, key=("id",), columns={}).label

    @property
    def shares_rows(self) -> bool:
        """Whether rows of one key mean one row, whatever their other values are."""
        return self.conflicts != "each" and not self.is_split

    @property
    def names(self) -> dict[str, str]:
        """By legacy column, its name in the new table."""
        return {column: self.columns.get(column, column) for column in self.legacy}

    @property
    def new_columns(self) -> dict[str, Column]:
        """The columns of the new table besides its id: any of a group may have no value."""
        return {name: Column(self.of_legacy(column).type) for column, name in self.names.items()}

    def of_legacy(self, column: str) -> Column:
        """A legacy column; nullable text where the table does not declare it."""
        return self.table.columns.get(column, Column("text"))

    @property
    def is_reviewed(self) -> bool:
        return self.conflicts == "decide"

    @property
    def decided_about(self) -> tuple[str, ...]:
        return self.key

    @property
    def decides_of(self) -> tuple[str, ...]:
        """The legacy columns of which people decide what the row of a key holds."""
        return tuple(c for c in self.legacy if c not in self.key)

    @property
    def decides(self) -> Mapping[str, Column]:
        return {self.names[c]: Column(self.of_legacy(c).type) for c in self.decides_of}

    @property
    def decides_empty(self) -> bool:
        return True

    @property
    def added(self) -> Mapping[str, Column]:
        return {self.column: Column(self.key_type)}

    @property
    def drops(self) -> tuple[str, ...]:
        return self.legacy

    @property
    def spelt(self) -> tuple[str, ...]:
        return tuple(c for c in self.legacy if self.shares_rows and c not in self.key)

    @property
    def expressions(self) -> Mapping[str, str]:
        if self.is_split:
            return {self.column: self._id_of_own_row.as_string()}
        row = self.identity(sql.Identifier(_ROW, c) for c in self.new_columns)
        value = sql.SQL(
            # In this order: of almost all rows the identity is computed once.
            "coalesce((SELECT {row}.id FROM {into} AS {row} WHERE {of_row} = {own}),"
            " CASE WHEN {own} IS NOT NULL THEN {absent} () END)"
        ).format(
            own=sql.SQL("{} ({})").format(
                _braced(in_target(self.identity_name)),
                sql.SQL(", ").join(code(f"{{{column}}}") for column in self.legacy),
            ),
            row=sql.Identifier(_ROW),
            into=_braced(self.lookup_sql),
            of_row=_braced(row),
            absent=_braced(in_target(self.absent_name)),
        )
        return {self.column: value.as_string()}

    @property
    def _id_of_own_row(self) -> sql.Composable:
        """SQL, with columns in braces: the own row's id, if that has the values of the row."""
        own = {c: code(f"{{{c}}}") for c in (*self.legacy, *self.key)}
        return sql.SQL(
            "coalesce((SELECT {row}.id FROM {into} AS {row} WHERE {row}.id = {key} AND {alike}),"
            " CASE WHEN {valued} THEN {absent} () END)"
        ).format(
            row=sql.Identifier(_ROW),
            into=_braced(self.lookup_sql),
            key=own[self.key[0]],
            alike=sql.SQL(" AND ").join(
                self.same(c, _braced(sql.Identifier(_ROW, name)), own[c])
                for c, name in self.names.items()
            ),
            valued=sql.SQL("true")
            if self.required
            else sql.SQL("NOT ({})").format(self.is_without_values(own)),
            absent=_braced(in_target(self.absent_name)),
        )

    @property
    def ways_back(self) -> Mapping[str, str]:
        def of_row(name: str) -> sql.Composed:
            return sql.SQL("(SELECT {} FROM {} AS {} WHERE {} = {})").format(
                _braced(sql.Identifier(_ROW, name)),
                _braced(self.lookup_sql),
                sql.Identifier(_ROW),
                sql.Identifier(_ROW, "id"),
                code(f"{{{self.column}}}"),
            )

        return {
            column: self.as_legacy(column, of_row(name)).as_string()
            for column, name in self.names.items()
        }

    def as_legacy(self, column: str, value: sql.Composable) -> sql.Composable:
        """SQL of a row's value as a legacy column takes it, which may have to hold some text."""
        declared = self.of_legacy(column)
        if declared.null or not _TEXT.fullmatch(declared.type):
            return value
        return sql.SQL("coalesce({}, '')").format(value)

    def is_empty(self, column: str, value: sql.Composable) -> sql.Composable:
        """SQL condition: a value of a legacy column is none."""
        if _TEXT.fullmatch(self.of_legacy(column).type):
            return sql.SQL("coalesce({}::pg_catalog.text, '') OPERATOR(pg_catalog.=) ''").format(
                value
            )
        return sql.SQL("{} IS NULL").format(value)

    def is_right(self, row: str, *, beside: str = "") -> sql.Composable:
        """SQL condition, never NULL: row ``row`` points to what its legacy columns say.

        As the expression has it, but by the ids of the new rows: no identity is computed, and the
        server may read the new rows once for many. ``beside`` is the alias of a joined new row.
        """
        own = {c: sql.Identifier(row, c) for c in self.legacy}
        id_, key = sql.Identifier(row, self.column), None

        def points_to(columns: Iterable[str]) -> sql.Composed:
            alias = beside or _ROW
            alike = sql.SQL(" AND ").join(
                [
                    sql.SQL("{} = {}").format(sql.Identifier(alias, "id"), value)
                    for value in (id_, key)
                    if value is not None
                ]
                + [
                    sql.SQL('{} COLLATE "C" = {} COLLATE "C"').format(
                        self._hashed(c, sql.Identifier(alias, self.names[c])),
                        self._hashed(c, own[c]),
                    )
                    for c in columns
                ]
            )
            if beside:
                return sql.SQL("coalesce({}, false)").format(alike)
            return sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {})").format(
                self.lookup_sql, sql.Identifier(alias), alike
            )

        none = self.is_without_values(own)
        if self.is_split:
            key = sql.Identifier(row, self.key[0])
            none = self._means_no_row(none, key)
        right = points_to(self.legacy)
        if self.shared_key:
            right = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
                sql.SQL(" AND ").join(self.is_empty(c, own[c]) for c in self.shared_key),
                right,
                points_to(self.shared_key),
            )
        return sql.SQL(
            "(CASE WHEN {none} THEN {id} IS NULL WHEN {id} IS NULL THEN false ELSE {right} END)"
        ).format(none=none, id=id_, right=right)

    def _hashed(self, column: str, value: sql.Composable) -> sql.Composable:
        """SQL of a text, never NULL, that is the same for values that are alike, and no others."""
        if _TEXT.fullmatch(self.of_legacy(column).type):
            return sql.SQL("coalesce({}::text, '')").format(value)
        return sql.SQL("coalesce('=' || {}::text, '')").format(value)

    def _means_no_row(self, empty: sql.Composable, key: sql.Composable) -> sql.Composable:
        """SQL condition: a row of that key, and maybe without values, has no row of its own."""
        if self.required:
            return sql.SQL("false")
        return sql.SQL("{} AND NOT EXISTS (SELECT FROM {} AS {} WHERE {} = {})").format(
            *(empty, self.lookup_sql, sql.Identifier(_ROW), sql.Identifier(_ROW, "id"), key)
        )

    def is_without_values(self, values: Mapping[str, sql.Composable]) -> sql.Composable:
        """SQL condition: no legacy column, each with its value, has one."""
        return sql.SQL(" AND ").join(self.is_empty(c, values[c]) for c in self.legacy)

    def same(self, column: str, value: sql.Composable, other: sql.Composable) -> sql.Composed:
        """SQL condition: two values of a legacy column are alike to the letter."""
        return sql.SQL('{} COLLATE "C" IS NOT DISTINCT FROM {} COLLATE "C"').format(
            self.told_by(column, value), self.told_by(column, other)
        )

    @property
    def shared_key(self) -> list[str]:
        """The columns by which several groups mean one row, where they do."""
        # One that is no legacy column is for the plan's check to name.
        return [c for c in self.key if c in self.legacy] if self.shares_rows else []

    def told_by(self, column: str, value: sql.Composable) -> sql.Composable:
        """SQL of the text that tells values of a legacy column apart: the empty one is none."""
        text = sql.SQL("{}::pg_catalog.text").format(value)
        if not _TEXT.fullmatch(self.of_legacy(column).type):
            return text
        # In a function's body no session says which operator NULLIF takes.
        return sql.SQL("CASE WHEN {} OPERATOR(pg_catalog.<>) '' THEN {} END").format(text, text)

    def meaning(self, row: str) -> sql.Composable:
        """SQL of a digest of what row ``row`` points to, which may be changed without it."""
        values = [sql.Identifier(_ROW, name) for name in self.new_columns]
        return sql.SQL("(SELECT {} FROM {} AS {} WHERE {} = {})").format(
            digest(listed("", values)),
            self.lookup_sql,
            sql.Identifier(_ROW),
            sql.Identifier(_ROW, "id"),
            sql.Identifier(row, self.column),
        )

    def _typed(self, value: sql.Composed, column: Column | None) -> sql.Composed:
        return value if column is None else cast(value, column.type)

    def _named(self, what: str) -> str:
        return identifier(self.table.label, self.column, what)

    @property
    def identity_name(self) -> str:
        """The name of the function of a group's identity, in the schema ``rollout``."""
        return self._named("identity")

    @property
    def groups_name(self) -> str:
        """The name of the table of all identities, which is there while a fill reads it."""
        return self._named("groups")

    @property
    def absent_name(self) -> str:
        """The name of the function that raises for a group without a row."""
        return self._named("absent")

    @property
    def make_name(self) -> str:
        """The name of the function that makes and changes rows for the triggers."""
        return self._named("make_row")

    @property
    def follow_name(self) -> str:
        """The name of the function that has legacy columns follow a row."""
        return self._named("follow")

    @property
    def decided_name(self) -> str:
        """The name of the function that says whether people decided about a key."""
        return self._named("is_decided")

    @property
    def forget_name(self) -> str:
        """The name of the function that deletes a row's own row, of a table that is split."""
        return self._named("forget")

    def identity(self, values: Iterable[sql.Composable]) -> sql.Composed:
        """SQL of the identity of a group of values, in the order of ``legacy``."""
        return sql.SQL("{} ({})").format(in_target(self.identity_name), sql.SQL(", ").join(values))


def extracts_in(translations: Iterable[object]) -> tuple[Extract, ...]:
    return tuple(t for t in translations if isinstance(t, Extract))


def _braced(name: sql.Composable) -> sql.SQL:
    """SQL for an expression, in which single braces are those of columns."""
    return code(name.as_string().replace("{", "{{").replace("}", "}}"))


def listed(prefix: str, values: Iterable[sql.Composable]) -> sql.Composed:
    """SQL of a text of values to the letter, each apart from the others and from NULL."""
    texts = [
        sql.SQL("pg_catalog.quote_nullable({}::pg_catalog.text)").format(value) for value in values
    ]
    return sql.SQL(" OPERATOR(pg_catalog.||) ',' OPERATOR(pg_catalog.||) ").join(
        [sql.Literal(prefix), *texts]
    )


def digest(text: sql.Composable) -> sql.Composed:
    return sql.SQL("pg_catalog.md5({})::pg_catalog.uuid").format(text)
