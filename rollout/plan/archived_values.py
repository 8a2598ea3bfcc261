"""What an archive keeps of each translation whose legacy columns go, and what restores them.

Of a row whose new values are still those that are archived, the archived value comes back to the
letter; of any other, what its new values are written as.
"""

import re
from dataclasses import dataclass
from typing import Protocol

from psycopg import sql

from rollout.plan.conversions import Conversion, cast
from rollout.plan.extractions import Extract
from rollout.plan.mapping import text_of_row
from rollout.plan.names import code, identifier
from rollout.plan.plan import Plan
from rollout.plan.table import Column, Table
from rollout.plan.translations import Lookup

# Alias of the archive's row of a row ``t``.
ARCHIVED = "archived"

# Types that an archive keeps as they are. Of others the text is kept: enums, domains, json, bits.
_KEPT_AS_THEY_ARE = re.compile(
    r"(smallint|integer|bigint|numeric|real|double precision|boolean|date|time|timestamp|interval"
    r"|uuid|jsonb|bytea|text|character varying|character)\b(?!.*\[\]).*"
)
_TEXT = re.compile(r"(text|character)\b.*")


class Kept(Protocol):
    """A translation in the archive. Rows are called ``t``; the archive's row is ``ARCHIVED``."""

    @property
    def legacy(self) -> tuple[str, ...]:
        """The legacy columns that go."""

    @property
    def columns(self) -> dict[str, sql.Composable]:
        """The archive's columns, each with its SQL over row ``t``."""

    def compared(self, row: str) -> list[sql.Composable]:
        """SQL of what a row's digest is made of; ``row`` is the table's or the archive's."""

    @property
    def means_the_same(self) -> sql.Composable:
        """SQL condition: row ``t`` is archived, and has the new values that it had then."""

    @property
    def join(self) -> sql.Composable | None:
        """A FROM item of one row that the values are read from where the archive does not say."""

    def text(self, column: str) -> sql.Composable:
        """SQL of a legacy value of row ``t`` as a text."""

    def again(self, column: str) -> sql.Composable:
        """SQL of what a legacy column of row ``t`` is to hold again, over the joins."""

    def text_again(self, column: str) -> sql.Composable:
        """The same as a text."""

    def is_of_old(self, column: str) -> sql.Composable:
        """SQL condition: a legacy value of row ``t`` is not what its new values are written as."""


@dataclass(frozen=True)
class KeptText:
    """The text of a lookup, with the lookup row that it meant."""

    plan: str
    lookup: Lookup

    @property
    def legacy(self) -> tuple[str, ...]:
        return (self.lookup.legacy,)

    @property
    def columns(self) -> dict[str, sql.Composable]:
        names = (self.lookup.legacy, self.lookup.column)
        return {name: sql.Identifier("t", name) for name in names}

    def compared(self, row: str) -> list[sql.Composable]:
        lookup = self.lookup
        return [
            # As bytes: a collation may take texts for equal that differ.
            sql.SQL('{} COLLATE "C"').format(lookup.text(sql.Identifier(row, lookup.legacy))),
            sql.Identifier(row, lookup.column),
        ]

    @property
    def means_the_same(self) -> sql.Composable:
        return sql.SQL("({} IS NOT NULL AND {} IS NOT DISTINCT FROM {})").format(
            sql.Identifier(ARCHIVED, self.lookup.table.key[0]),
            sql.Identifier(ARCHIVED, self.lookup.column),
            sql.Identifier("t", self.lookup.column),
        )

    @property
    def _alias(self) -> str:
        return identifier("text", self.lookup.column)

    @property
    def join(self) -> sql.Composable:
        # Without OFFSET the text would be looked up before it is known whether the archive says it.
        return sql.SQL(
            "LATERAL (SELECT {} AS text FROM {} AS l WHERE l.id = {} AND NOT {} OFFSET 0) AS {}"
        ).format(
            text_of_row(self.lookup, self.plan, "l"),
            self.lookup.lookup_sql,
            sql.Identifier("t", self.lookup.column),
            self.means_the_same,
            sql.Identifier(self._alias),
        )

    def text(self, column: str) -> sql.Composable:
        return self.lookup.text(sql.Identifier("t", column))

    def again(self, column: str) -> sql.Composable:
        return self.lookup.of_text(self.text_again(column))

    def text_again(self, column: str) -> sql.Composable:
        return sql.SQL("(CASE WHEN {} THEN {} ELSE coalesce({}, {}) END)").format(
            self.means_the_same,
            self.lookup.text(sql.Identifier(ARCHIVED, column)),
            sql.Identifier(self._alias, "text"),
            self.lookup.no_text,
        )

    def is_of_old(self, column: str) -> sql.Composable:
        return sql.SQL(
            '{} COLLATE "C" IS DISTINCT FROM coalesce('
            '(SELECT {} FROM {} AS l WHERE l.id = {}), {}) COLLATE "C"'
        ).format(
            self.text(column),
            text_of_row(self.lookup, self.plan, "l"),
            self.lookup.lookup_sql,
            sql.Identifier("t", self.lookup.column),
            self.lookup.no_text,
        )


@dataclass(frozen=True)
class KeptValues:
    """The legacy values of a conversion, with the new values that they became."""

    conversion: Conversion

    @property
    def legacy(self) -> tuple[str, ...]:
        return self.conversion.drops

    def _type(self, column: str) -> str:
        added = self.conversion.added
        declared = added.get(column) or self.conversion.table.columns.get(column, Column("text"))
        return declared.type

    def _kept(self, row: str, column: str) -> sql.Composable:
        value = sql.Identifier(row, column)
        if row == ARCHIVED or _KEPT_AS_THEY_ARE.fullmatch(self._type(column)):
            return value
        return sql.SQL("{}::text").format(value)

    @property
    def columns(self) -> dict[str, sql.Composable]:
        kept = {name: self._kept("t", name) for name in self._names}
        if isinstance(self.conversion, Extract):
            kept[self._meaning] = self.conversion.meaning("t")
        return kept

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.conversion.drops, *self.conversion.added)

    @property
    def _meaning(self) -> str:
        """The archive's column with what the new values meant: an extracted row may change."""
        return identifier(*self.conversion.added, "meaning")

    def compared(self, row: str) -> list[sql.Composable]:
        return [self._exactly(row, name) for name in self._names]

    def _exactly(self, row: str, column: str) -> sql.Composable:
        """What is kept of a value, so that two are equal to the letter or not at all."""
        type_, kept = self._type(column), self._kept(row, column)
        if _TEXT.fullmatch(type_) or not _KEPT_AS_THEY_ARE.fullmatch(type_):
            return sql.SQL('{}::text COLLATE "C"').format(kept)
        return kept

    @property
    def means_the_same(self) -> sql.Composable:
        key = sql.SQL("{} IS NOT NULL").format(
            sql.Identifier(ARCHIVED, self.conversion.table.key[0])
        )
        same = [
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(
                self._exactly(ARCHIVED, column), self._exactly("t", column)
            )
            for column in self.conversion.added
        ]
        if isinstance(self.conversion, Extract):
            same.append(
                sql.SQL("{} IS NOT DISTINCT FROM {}").format(
                    sql.Identifier(ARCHIVED, self._meaning), self.conversion.meaning("t")
                )
            )
        return sql.SQL("({})").format(sql.SQL(" AND ").join([key, *same]))

    @property
    def join(self) -> None:
        return None

    def text(self, column: str) -> sql.Composable:
        return sql.SQL("{}::text").format(sql.Identifier("t", column))

    def again(self, column: str) -> sql.Composable:
        return sql.SQL("(CASE WHEN {} THEN {} ELSE {} END)").format(
            self.means_the_same,
            cast(sql.Identifier(ARCHIVED, column), self._type(column)),
            self.conversion.legacy_values("t")[column],
        )

    def text_again(self, column: str) -> sql.Composable:
        return sql.SQL("{}::{}::text").format(self.again(column), code(self._type(column)))

    def is_of_old(self, column: str) -> sql.Composable:
        return sql.SQL('{} COLLATE "C" IS DISTINCT FROM {} COLLATE "C"').format(
            self.text(column), written_text(self.conversion, column)
        )


def written_text(conversion: Conversion, column: str) -> sql.Composed:
    """SQL of a legacy value as a text, as the new values of row ``t`` are written."""
    type_ = conversion.table.columns.get(column, Column("text")).type
    return sql.SQL("{}::{}::text").format(conversion.legacy_values("t")[column], code(type_))


def kept_of(plan: Plan, table: Table) -> tuple[Kept, ...]:
    """What the archive of a table keeps besides its key."""
    return tuple(
        KeptText(plan.name, t) if isinstance(t, Lookup) else KeptValues(t)
        for t in plan.translations_of(table)
        if t.drops
    )
