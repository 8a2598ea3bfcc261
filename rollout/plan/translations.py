"""Translations: one legacy expression to one new column. Everything else follows from them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django.conf import settings
from psycopg import sql

from rollout.plan.conversions import Conversion
from rollout.plan.names import MAX_LOOKUP_CHARACTERS, code, identifier
from rollout.plan.table import Column, Table

# Types of Django's automatic keys; all others are bigint.
_KEYS = {"SmallAutoField": "smallint", "AutoField": "integer"}
_TEXT = re.compile(r"text|character varying(\(\d+\))?")
_LENGTH = re.compile(r"\((\d+)\)")


def key_type(key: str = "") -> str:
    """The type of a lookup table's ids; for an empty one that of the project's automatic keys."""
    return key or _KEYS.get(settings.DEFAULT_AUTO_FIELD.rpartition(".")[2], "bigint")


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """A free-text column that becomes a foreign key to a lookup table.

    Distinct texts become lookup rows by way of a mapping: texts of one normal form share a row.
    NULL and blank texts map to the row named ``blank``; with ``blank=None`` they map to no row, and
    ``required`` must then be false, unless the legacy column is NOT NULL: then an empty text is
    refused from the step on that requires values. A required column becomes NOT NULL when the plan
    enforces it.
    The legacy column is text or varchar, citext, an enum or a domain of these. Where it is NOT NULL
    it stays so, and no value is an empty text there; where it is varchar, names of lookup rows are
    no longer than it can take.
    ``synonyms`` leads texts to the name of the row that they mean, whatever their case and white
    space. What people decide about a text counts for more than the plan.

    ``unknown`` is what becomes of a text that the application first writes after the values were
    mapped: ``create`` makes its lookup row, ``null`` leaves the column empty until somebody
    decides, and ``required`` must then be false.

    ``key`` is the type of the lookup rows' ids; without it that of the project's
    DEFAULT_AUTO_FIELD. ``rows`` are lookup rows that are there in any case, by their ids: the name,
    or a mapping with ``name`` and values of ``columns``, which are further columns of the table.
    They may be null, since a row of a new text has none.
    """

    table: Table
    """The table of the legacy column."""
    legacy: str
    """The legacy column."""
    column: str
    """The new column, a foreign key."""
    lookup_table: str
    """The new table of lookup rows."""
    blank: str | None = "Unspecified"
    """The name of the row for NULL and blank texts; None for no row."""
    required: bool = True
    """Whether the new column becomes NOT NULL."""
    synonyms: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Legacy text to the name of the row that it means."""
    unknown: Literal["create", "null"] = "create"
    """What becomes of a text that is first written after phase 2 mapped the values."""
    key: Literal["", "smallint", "integer", "bigint"] = ""
    """The type of the lookup rows' ids; empty for the project's ``DEFAULT_AUTO_FIELD``."""
    rows: Mapping[int, str | Mapping[str, Any]] = field(default_factory=dict, hash=False)
    """Lookup rows that phase 2 creates in any case, by id: a name, or a mapping with ``name``."""
    columns: Mapping[str, Column] = field(default_factory=dict, hash=False)
    """Further columns of the lookup table, by name."""

    @property
    def key_type(self) -> str:
        """The type of the lookup rows' ids, and of the new column."""
        return key_type(self.key)

    @property
    def new(self) -> Column:
        return Column(self.key_type)

    @property
    def fixed_rows(self) -> Mapping[int, Mapping[str, Any]]:
        """The rows that the plan names, each as its values by column."""
        return {
            id_: {"name": row} if isinstance(row, str) else row for id_, row in self.rows.items()
        }

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.legacy,)

    @property
    def added(self) -> Mapping[str, Column]:
        return {self.column: self.new}

    @property
    def drops(self) -> tuple[str, ...]:
        return (self.legacy,)

    @property
    def lookup_sql(self) -> sql.Identifier:
        return sql.Identifier(self.table.schema, self.lookup_table)

    @property
    def lookup_label(self) -> str:
        return Table(
            name=self.lookup_table, schema=self.table.schema, key=("id",), columns={}
        ).label

    @property
    def of_legacy(self) -> Column:
        """The legacy column; nullable text where the table does not declare it."""
        return self.table.columns.get(self.legacy, Column("text"))

    @property
    def longest(self) -> int:
        """Characters; a longer text is no name of a lookup row."""
        length = _LENGTH.search(self.of_legacy.type)
        return min(MAX_LOOKUP_CHARACTERS, int(length[1]) if length else MAX_LOOKUP_CHARACTERS)

    @property
    def name_column(self) -> Column:
        """The name of a lookup row, which has to fit into the legacy column as well."""
        short = self.longest < MAX_LOOKUP_CHARACTERS
        return Column(f"character varying({self.longest})" if short else "text", null=False)

    @property
    def no_text(self) -> sql.Composable:
        """SQL of what the legacy column holds for no value."""
        return sql.SQL("NULL" if self.of_legacy.null else "''")

    @property
    def mapping_alias(self) -> str:
        return identifier("m", self.column)

    def mapping_name(self, plan: str) -> str:
        return identifier(plan, self.table.label, self.legacy, "mapping")

    def legacy_text(self, row: str) -> sql.Composable:
        """The legacy text as the mapping's key: NULL is the blank text."""
        return sql.SQL("coalesce({}, '')").format(self.text(sql.Identifier(row, self.legacy)))

    def text(self, value: sql.Composable) -> sql.Composable:
        """SQL of a value of the legacy column as a text."""
        return value if self.is_text else sql.SQL("{}::text").format(value)

    def of_text(self, text: sql.Composable) -> sql.Composable:
        """SQL of a text as a value of the legacy column."""
        return text if self.is_text else sql.SQL("{}::{}").format(text, code(self.of_legacy.type))

    @property
    def is_text(self) -> bool:
        """Whether the legacy column is text already; else it is an enum or a domain, or citext."""
        return _TEXT.fullmatch(self.of_legacy.type) is not None


@dataclass(frozen=True, kw_only=True)
class Computed:
    """New columns whose values a Python function computes from a row's other columns.

    ``function`` is the dotted path of a function as ``rollout.plan.actions.Compute`` describes it.
    A write that changes a column in ``reads`` and brings no new values empties the computed
    columns, so that the final sweep of the backfill finds the row.
    """

    table: Table
    """The table of the new columns."""
    columns: Mapping[str, Column] = field(hash=False)
    """The new columns, by name."""
    reads: tuple[str, ...]
    """The columns that the function reads."""
    function: str
    """Dotted path of a function that takes a batch of rows."""

    @property
    def added(self) -> Mapping[str, Column]:
        return self.columns


# Translations that SQL computes, so that triggers and audits can follow them.
ColumnTranslation = Lookup | Conversion
Translation = ColumnTranslation | Computed
