"""Plants rows of every category into a copy whose rows are all right."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import Rollback, sql

from rollout.engine import quarantine
from rollout.engine.audit.categories import MATCHED
from rollout.engine.quarantine import is_row, key_of
from rollout.engine.target import Connection
from rollout.plan.archived_values import written_text
from rollout.plan.conversions import Conversion, as_one
from rollout.plan.names import in_target
from rollout.plan.plan import Plan
from rollout.plan.refusals import refusal
from rollout.plan.table import Table
from rollout.plan.translations import Computed, Lookup, Translation

# Rows of each category planted in every translation that can have it.
ROWS_PER_CATEGORY = 5
# The job whose quarantine holds the planted rows.
QUARANTINE_JOB = 1
NO_SUCH_ROW = 2_000_000_000
# A text that no conversion to numbers, times and the like takes.
NO_VALUE = "zq: none"
_OTHER_VALUE = {
    "B": "NOT {column}",
    "S": "CASE WHEN {column} = '?' THEN '!' ELSE '?' END",
    "N": "{column} + 1",
    "D": "{column} + interval '1 day'",
    "E": "(SELECT v FROM unnest(enum_range({column})) AS v WHERE v <> {column} LIMIT 1)",
}
# By PostgreSQL's category of the column's type.
_SOME_VALUE = {"B": "true", "S": "'?'", "N": "1", "D": "now()", "E": "(enum_range({column}))[1]"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Defect:
    """One row that was made to be of a category in one translation.

    ``legacy`` is a text that only rows of this translation and category have, if there is one.
    """

    table: str
    key: tuple[str, ...]
    column: str
    category: str
    legacy: str | None = None
    by_sample_alone: bool = False
    """Whether only a sample can find it: a full audit does not call functions."""

    @property
    def is_mismatch(self) -> bool:
        return self.category not in MATCHED


@dataclass
class PlantedDefects:
    """What was planted, what could not be and why, and which rows of each table were left alone."""

    planted: list[Defect] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    untouched: dict[str, list[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(list))
    heal: sql.Composed = field(default_factory=lambda: sql.Composed([]))
    """SQL that heals the rows that must be right when they are read again."""


def name_of(translation: Translation) -> str:
    """The column under which an audit reports a translation."""
    return ", ".join(translation.added)


def plant(copy: Connection, plan: Plan, seed: int) -> PlantedDefects:
    """Plant every category that the translations of the plan can have."""
    result = PlantedDefects()
    heal: list[sql.Composable] = []
    for table in plan.audited_tables:
        with copy.transaction():
            heal += _TablePlanting(copy, plan, table, result, random.Random(seed)).plant()
    result.heal = sql.SQL(";").join(heal)
    return result


class _TablePlanting:
    """The planting of one table. Each row is of one category in one translation, and right else."""

    def __init__(
        self,
        copy: Connection,
        plan: Plan,
        table: Table,
        result: PlantedDefects,
        chance: random.Random,
    ) -> None:
        self.copy, self.plan, self.table, self.result = copy, plan, table, result
        self.translations = (*plan.translations_of(table), *plan.computed_of(table))
        self.pool = self._rows()
        chance.shuffle(self.pool)

    def plant(self) -> list[sql.Composable]:
        """Plant the defects; the result is SQL that heals the transient ones before the recheck."""
        if not self.pool:
            self.result.left_out.append(f"{self.table.label}: no row to copy, nothing planted.")
            return []
        for lookup in self.plan.lookups_of(self.table):
            self._texts(lookup)
        self._triggers("DISABLE")
        heal: list[sql.Composable] = []
        for translation in self.translations:
            match translation:
                case Lookup():
                    heal += self._rows_of_lookup(translation)
                case Conversion():
                    self._rows_of_derived(translation)
                case Computed():
                    self._rows_of_computed(translation)
        self._triggers("ENABLE")
        self.result.untouched[self.table.label] = [tuple(row["key"]) for row in self.pool]
        return heal

    def _rows(self) -> list[Row]:
        """Every row's key, and which of its new columns are null."""
        columns = [name for t in self.translations for name in t.added]
        rows = self.copy.execute(
            sql.SQL("SELECT {}, {} FROM {} AS t ORDER BY 1").format(
                key_of(self.table),
                sql.SQL(", ").join(
                    sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", name)) for name in columns
                ),
                self.table.identifier,
            )
        ).fetchall()
        return [dict(zip(["key", *columns], row, strict=True)) for row in rows]

    def _triggers(self, how: str) -> None:
        self.copy.execute(
            sql.SQL("ALTER TABLE {} {} TRIGGER USER").format(self.table.identifier, sql.SQL(how))
        )

    def _texts(self, lookup: Lookup) -> None:
        """Rows whose legacy text is made for the purpose, and its mapping with it."""
        row = self._lookup_row(lookup, "Zq One")
        self._text(lookup, "ok", "Zq One", row)
        self._text(lookup, "ok_normalized", "  zq  ONE ", row)
        self._text(lookup, "ok_mapped", "zq alias", row)
        self._text(lookup, "ok_mapped", "zq no value", None, why="no_value")
        self._text(lookup, "unmapped", "zq unmapped", None)
        two, three = self._lookup_row(lookup, "Zq Two"), self._lookup_row(lookup, "Zq Three")
        self._text(lookup, "ambiguous", "Zq Two", two)
        self._text(lookup, "ambiguous", "ZQ TWO", three)
        old = self._lookup_row(lookup, "Zq Old")
        self._text(lookup, "inactive", "Zq Old", old)
        self.copy.execute(
            sql.SQL("UPDATE {} SET active = false WHERE id = %s").format(lookup.lookup_sql), [old]
        )
        if lookup.blank is None:
            self._text(lookup, "both_null", " \u00a0 \t \u00a0", None)
        forgotten = "zq forgotten"
        self._text(lookup, "unmapped", forgotten, None)
        self.copy.execute(
            sql.SQL("DELETE FROM {} WHERE legacy = %s").format(self._mapping(lookup)), [forgotten]
        )

    def _lookup_row(self, lookup: Lookup, name: str) -> int:
        row = self.copy.execute(
            sql.SQL("INSERT INTO {} (name) VALUES (%s) RETURNING id").format(lookup.lookup_sql),
            [name],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _mapping(self, lookup: Lookup) -> sql.Composable:
        return in_target(lookup.mapping_name(self.plan.name))

    def _text(
        self,
        lookup: Lookup,
        category: str,
        text: str,
        row_id: int | None,
        *,
        why: str = "exact",
    ) -> None:
        self.copy.execute(
            sql.SQL(
                "INSERT INTO {} (legacy, lookup_id, why) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
            ).format(self._mapping(lookup)),
            [text, row_id, why],
        )
        for row in self._take(lookup, category):
            self._set(row, sql.SQL("{} = {}").format(sql.Identifier(lookup.legacy), text))
            self._note(row, lookup, category, legacy=text)

    def _rows_of_lookup(self, lookup: Lookup) -> list[sql.Composable]:
        column = sql.Identifier(lookup.column)

        def filled(row: Row) -> bool:
            return bool(row[lookup.column])

        other = sql.SQL("{} = (SELECT min(id) FROM {} AS l WHERE l.id <> t.{})").format(
            column, lookup.lookup_sql, column
        )
        self._rows_in(lookup, "missing", sql.SQL("{} = NULL").format(column), filled)
        self._rows_in(lookup, "wrong", other, filled)
        self._rows_in(lookup, "orphan", sql.SQL("{} = {}").format(column, NO_SUCH_ROW))
        if lookup.blank is None:
            self._rows_in(
                lookup,
                "unexpected",
                sql.SQL("{} = (SELECT min(id) FROM {})").format(column, lookup.lookup_sql),
                lambda row: not filled(row),
            )
        heal: list[sql.Composable] = []
        for row in self._take(lookup, "transient", filled):
            before = self.copy.execute(
                sql.SQL("SELECT {} FROM {} AS t WHERE ").format(column, self.table.identifier)
                + is_row(self.table, row["key"])
            ).fetchone()
            assert before is not None
            self._set(row, sql.SQL("{} = {}").format(column, NO_SUCH_ROW))
            self._note(row, lookup, "transient")
            heal.append(
                sql.SQL("UPDATE {} AS t SET {} = {} WHERE {}").format(
                    self.table.identifier,
                    column,
                    sql.Literal(before[0]),
                    is_row(self.table, row["key"]),
                )
            )
        return heal

    def _rows_of_derived(self, derived: Conversion) -> None:
        first, *_ = derived.added
        kind = self._type_category(first)

        def filled(row: Row) -> bool:
            return bool(row[first])

        self._rows_in(derived, "missing", _emptied(derived), filled)
        self._texts_of_conversion(derived, filled)
        if kind not in _OTHER_VALUE:
            self.result.left_out.append(
                f"{self.table.label}.{first}: no other value of type "
                f"{derived.added[first].type} is known, nothing planted."
            )
            return
        self._rows_in(derived, "computed_differs", _assigned(_OTHER_VALUE, first, kind), filled)
        if not derived.required:
            wrong_value = _assigned(_SOME_VALUE, first, kind)
            self._rows_in(derived, "unexpected", wrong_value, lambda row: not filled(row))

    def _texts_of_conversion(self, conversion: Conversion, filled: Callable[[Row], bool]) -> None:
        """Rows whose legacy text does not convert, or comes back in another spelling."""
        # Of what tells rows apart another text would mean another row.
        text = next((c for c in conversion.spelt if self._type_category(c) == "S"), None)
        if text is None:
            return
        name, reason = sql.Identifier(text), refusal(conversion, self.plan.name, "t")
        if conversion.leaves_empty or conversion.asks_people:
            self._rows_where(
                conversion,
                "unconvertible" if conversion.leaves_empty else "undecided",
                sql.SQL("{} = {}, {}").format(name, NO_VALUE, _emptied(conversion)),
                sql.SQL("{} IS NOT NULL").format(reason),
                filled,
            )
        self._rows_where(
            conversion,
            "lossy",
            sql.SQL("{} = ' ' || {}").format(name, name),
            sql.SQL("CASE WHEN {} IS NULL THEN {} IS NOT DISTINCT FROM {} AND {} <> {} END").format(
                reason,
                as_one(conversion.values("t").values()),
                as_one(sql.Identifier("t", column) for column in conversion.added),
                sql.Identifier("t", text),
                written_text(conversion, text),
            ),
            filled,
        )

    def _rows_where(
        self,
        conversion: Conversion,
        category: str,
        assignment: sql.Composable,
        holds: sql.Composable,
        fits: Callable[[Row], bool],
    ) -> None:
        """Rows that an assignment gives the value meant: the conversion may take any text."""
        for row in self._take(conversion, category, fits):
            with self.copy.transaction() as planting:
                self._set(row, assignment)
                fits_now = self.copy.execute(
                    sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(
                        holds, self.table.identifier, is_row(self.table, row["key"])
                    )
                ).fetchone()
                if not fits_now or not fits_now[0]:
                    self.result.left_out.append(
                        f"{self.table.label}.{conversion.name}: a row cannot be made {category}."
                    )
                    raise Rollback(planting)
                self._note(row, conversion, category)

    def _rows_of_computed(self, computed: Computed) -> None:
        columns = list(computed.columns)
        last_null = sql.SQL("{} = NULL").format(sql.Identifier(columns[-1]))
        self._rows_in(computed, "missing", last_null)
        for row in self._take(computed, "quarantined"):
            self._set(row, _emptied(computed))
            quarantine.add(self.copy, QUARANTINE_JOB, row["key"], "Defect.")
            self._note(row, computed, "quarantined")
        kinds = {column: self._type_category(column) for column in columns}
        known = [column for column in columns if kinds[column] in _OTHER_VALUE]
        if known:
            other = _assigned(_OTHER_VALUE, known[0], kinds[known[0]])
            for row in self._take(computed, "computed_differs"):
                self._set(row, other)
                self._note(row, computed, "computed_differs", by_sample_alone=True)

    def _type_category(self, column: str) -> str:
        row = self.copy.execute(
            "SELECT typcategory::text FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = atttypid"
            " WHERE attrelid = %s::regclass AND attname = %s",
            [self.table.identifier.as_string(), column],
        ).fetchone()
        assert row is not None
        return str(row[0])

    def _rows_in(
        self,
        translation: Translation,
        category: str,
        assignment: sql.Composable,
        fits: Callable[[Row], bool] = lambda row: True,
    ) -> None:
        for row in self._take(translation, category, fits):
            self._set(row, assignment)
            self._note(row, translation, category)

    def _take(
        self,
        translation: Translation,
        category: str,
        fits: Callable[[Row], bool] = lambda row: True,
    ) -> list[Row]:
        """Rows of the pool for a category, which are in it no more."""
        taken = [row for row in self.pool if fits(row)][:ROWS_PER_CATEGORY]
        self.pool = [row for row in self.pool if row not in taken]
        if not taken:
            self.result.left_out.append(
                f"{self.table.label}.{name_of(translation)}: no row left for {category}."
            )
        return taken

    def _set(self, row: Row, assignment: sql.Composable) -> None:
        self.copy.execute(
            sql.SQL("UPDATE {} AS t SET {} WHERE {}").format(
                self.table.identifier, assignment, is_row(self.table, row["key"])
            )
        )

    def _note(
        self,
        row: Row,
        translation: Translation,
        category: str,
        *,
        legacy: str | None = None,
        by_sample_alone: bool = False,
    ) -> None:
        self.result.planted.append(
            Defect(
                self.table.label,
                tuple(row["key"]),
                name_of(translation),
                category,
                legacy,
                by_sample_alone,
            )
        )


def _emptied(translation: Translation) -> sql.Composable:
    """SQL that assigns NULL to each new column."""
    return sql.SQL(", ").join(
        sql.SQL("{} = NULL").format(sql.Identifier(name)) for name in translation.added
    )


def _assigned(values: Mapping[str, str], column: str, kind: str) -> sql.Composable:
    name = sql.Identifier(column)
    return sql.SQL("{} = ").format(name) + sql.SQL(values[kind]).format(column=name)
