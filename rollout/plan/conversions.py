"""Conversions: new columns whose values are SQL expressions over the row, and the way back.

The engine asks each kind the same few questions: what it reads, adds and drops; the new values and
the legacy values as SQL; what becomes of a row whose value does not convert.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from psycopg import sql

from rollout.plan.expressions import named, over, renamed
from rollout.plan.names import code, identifier
from rollout.plan.table import Column, Table
from rollout.plan.type_families import compare_alike

# Types that an explicit cast cuts to length in silence, and what takes any length instead.
_CUT = re.compile(r"(character varying|character|bit varying|bit)\(\d+\)")
_UNCUT = {"character": "bpchar", "bit": "bit varying"}


class Conversion(ABC):
    """What the engine asks of new columns whose values are expressions over the row."""

    table: Table
    """The table of the columns."""
    required: bool
    """Whether the new columns become NOT NULL."""
    is_tried = True
    """Whether the preflight tries the expressions on the present rows."""

    @property
    @abstractmethod
    def added(self) -> Mapping[str, Column]:
        """The new columns, by name."""

    @property
    @abstractmethod
    def expressions(self) -> Mapping[str, str]:
        """By new column, SQL over the row that gives its value."""

    @property
    @abstractmethod
    def ways_back(self) -> Mapping[str, str]:
        """By legacy column, SQL over the row that gives its value from the new ones."""

    @property
    def drops(self) -> tuple[str, ...]:
        """The legacy columns that phase 4 takes away."""
        return ()

    @property
    def spelt(self) -> tuple[str, ...]:
        """The legacy columns of which several spellings may mean the same new values."""
        return self.drops

    @property
    def leaves_empty(self) -> bool:
        """Whether a row whose value does not convert is right with empty new columns."""
        return False

    @property
    def refuses(self) -> bool:
        """Whether a write is refused whose value does not convert."""
        return False

    @property
    def asks_people(self) -> bool:
        """Whether people decide what becomes of a value that does not convert."""
        return False

    @property
    def is_reviewed(self) -> bool:
        """Whether people decide, on a page of their own, what new columns are to hold."""
        return self.asks_people

    @property
    def decided_about(self) -> tuple[str, ...]:
        """The columns whose values a decision is about."""
        return self.reads

    @property
    def decides(self) -> Mapping[str, Column]:
        """The columns that a decision gives values."""
        return self.added

    @property
    def decides_empty(self) -> bool:
        """Whether a decision may leave a column empty."""
        return not self.required

    @property
    def is_closed(self) -> bool:
        """Whether a write of a new value that contradicts the expression is refused."""
        return False

    @abstractmethod
    def renamed(self, table: Table, names: Mapping[str, str]) -> "Conversion":
        """The same of ``table``, whose columns have other names: those of ``names``, by the old."""

    @property
    def name(self) -> str:
        """The new columns, as pages name the conversion."""
        return ", ".join(self.added)

    def declared(self, column: str) -> str:
        """The name that the plan declares a new column with, which may have another one by now."""
        return column

    @property
    def cuts(self) -> bool:
        """Whether a column may refuse a value for its length, which no expression tells."""
        return False

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that the expressions name."""
        return named(self.expressions)

    @property
    def read_by_back(self) -> tuple[str, ...]:
        """The columns that the way back names."""
        return named(self.ways_back)

    def values(
        self,
        row: str,
        normal_forms: Mapping[str, sql.Composable] | None = None,
        *,
        instead: Mapping[str, sql.Composable] | None = None,
    ) -> dict[str, sql.Composed]:
        """By new column, its expression over the row variable or alias ``row``.

        ``normal_forms`` says where the normal form of a column is at hand already; ``instead``
        gives values that columns are to have instead of those of the row.
        """
        return {
            column: self._typed(over(expression, row, normal_forms, instead), self.added[column])
            for column, expression in self.expressions.items()
            if column in self.added
        }

    def legacy_values(
        self, row: str, *, instead: Mapping[str, sql.Composable] | None = None
    ) -> dict[str, sql.Composed]:
        """By legacy column, what it is to hold so that the row ``row`` means its new values."""
        return {
            column: self._typed(
                over(expression, row, None, instead), self.table.columns.get(column)
            )
            for column, expression in self.ways_back.items()
        }

    def _typed(self, value: sql.Composed, column: Column | None) -> sql.Composed:
        """A value of the column's type; as it is where the plan's SQL has to see to that."""
        return value


@dataclass(frozen=True, kw_only=True)
class Derived(Conversion):
    """A new column whose value is a SQL expression over the row.

    The expression names columns in braces, ``"CASE WHEN {status} = 'sold' THEN {updated_at} END"``,
    or their normal forms, ``"{status:normal} = 'sold'"``; a brace of its own is doubled.

    ``back`` is the way back: for each legacy column that follows, an expression over the new column
    and the others of the row, ``{"paid": "CASE WHEN {is_paid} THEN 'yes' ELSE 'no' END"}``. With it
    a write of the new column alone leads, before the cutover and after it; one that ``back`` cannot
    tell is refused. Without it ``writable`` says what becomes of a write that contradicts the
    expression after the cutover: with False the triggers refuse it; with True it is wrong for
    audits, and a rollback overwrites it. A plan that cuts the table over has to say which.
    """

    table: Table
    """The table of the new column."""
    column: str
    """The new column."""
    type: str
    """Its type, as ``format_type`` prints it."""
    expression: str
    """SQL over the row, with columns in braces."""
    required: bool = True
    """Whether it becomes NOT NULL."""
    back: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Legacy column to the SQL that gives its value from the new one."""
    writable: bool | None = None
    """What becomes of a write that contradicts the expression after the cutover."""

    def renamed(self, table: Table, names: Mapping[str, str]) -> "Derived":
        return replace(
            self,
            table=table,
            column=names.get(self.column, self.column),
            expression=renamed(self.expression, names),
            back=with_names(self.back, names),
        )

    @property
    def new(self) -> Column:
        return Column(self.type)

    @property
    def added(self) -> Mapping[str, Column]:
        return {self.column: self.new}

    @property
    def expressions(self) -> Mapping[str, str]:
        return {self.column: self.expression}

    @property
    def ways_back(self) -> Mapping[str, str]:
        return self.back

    @property
    def is_closed(self) -> bool:
        return self.writable is False and not self.back


@dataclass(frozen=True, kw_only=True)
class Convert(Conversion):
    """Legacy columns that become others: another type, name or unit; one into several, or several
    into one; the keys of a JSON document.

    ``forward`` and ``backward`` are SQL over the row, with columns in braces as in ``Derived``:
    ``{"price_cents": "round({price}::numeric * 100)"}``, ``{"price": "{price_cents} / 100.0"}``.
    Each result is cast to its column's type. A write of either side leads, before the cutover and
    after it; a new value that ``backward`` cannot tell is refused until phase 4 is done. Phase 4
    drops the legacy columns with an archive of every value, so that a rollback restores them to the
    letter.

    ``unconvertible`` is what becomes of a row whose ``forward`` raises an error: ``quarantine``
    leaves the new columns empty, keeps the row aside with the reason, and lets no audit be clean
    until people decide what it becomes, or correct its legacy value; ``null`` leaves them empty for
    good, which is right then, and ``required`` must be false; ``refuse`` refuses the write.

    With ``keeps_name`` one column becomes one that takes its name with the cutover, in the same
    transaction, and gives it back in its rollback. Where its values stay the same, so do its
    indexes, constraints and default. Until phase 4 drops it, the legacy column is called
    ``price_legacy`` then.
    """

    table: Table
    """The table of the columns."""
    legacy: tuple[str, ...]
    """The legacy columns."""
    columns: Mapping[str, Column] = field(hash=False)
    """The new columns, by name."""
    forward: Mapping[str, str] = field(hash=False)
    """New column to the SQL that gives its value from the legacy ones."""
    backward: Mapping[str, str] = field(hash=False)
    """Legacy column to the SQL that gives its value from the new ones."""
    required: bool = True
    """Whether the new columns become NOT NULL."""
    unconvertible: Literal["quarantine", "null", "refuse"] = "quarantine"
    """What becomes of a row whose value does not convert."""
    keeps_name: bool = False
    """Whether the new column takes the legacy column's name with the cutover."""

    @property
    def carries(self) -> bool:
        """Whether indexes, constraints, sequences and defaults go along with the name to come.

        They cannot where the new values mean something else.
        """
        return self.keeps_name and self._has_the_same_values

    @property
    def recreates_views(self) -> bool:
        """Whether views over the legacy column are created again over the one of its name."""
        return False

    @property
    def _has_the_same_values(self) -> bool:
        if len(self.legacy) != 1 or len(self.columns) != 1:
            return False
        (legacy,), ((new, column),) = self.legacy, self.columns.items()
        declared = self.table.columns.get(legacy)
        return (
            declared is not None
            and self.forward.get(new) == "{" + legacy + "}"
            and compare_alike(declared.type, column.type)
        )

    @property
    def names_after_cutover(self) -> dict[str, str]:
        """By column, the name that it has from the cutover on, where that is another."""
        if not self.keeps_name or len(self.legacy) != 1 or len(self.columns) != 1:
            return {}
        (legacy,), (new,) = self.legacy, self.columns
        return {legacy: identifier(legacy, "legacy"), new: legacy}

    def renamed(self, table: Table, names: Mapping[str, str]) -> "Convert":
        return _Renamed(
            table=table,
            required=self.required,
            unconvertible=self.unconvertible,
            legacy=tuple(names.get(column, column) for column in self.legacy),
            columns={names.get(name, name): column for name, column in self.columns.items()},
            forward=with_names(self.forward, names),
            backward=with_names(self.backward, names),
            declared_names={names.get(name, name): name for name in self.columns},
        )

    @property
    def added(self) -> Mapping[str, Column]:
        return {name: Column(column.type) for name, column in self.columns.items()}

    @property
    def expressions(self) -> Mapping[str, str]:
        return self.forward

    @property
    def ways_back(self) -> Mapping[str, str]:
        return self.backward

    @property
    def drops(self) -> tuple[str, ...]:
        # One that nothing leads back to is for the plan's check to name, not to stumble over here.
        return tuple(column for column in self.legacy if column in self.backward)

    @property
    def cuts(self) -> bool:
        return any(_CUT.fullmatch(column.type) for column in self.columns.values())

    @property
    def leaves_empty(self) -> bool:
        return self.unconvertible == "null"

    @property
    def refuses(self) -> bool:
        return self.unconvertible == "refuse"

    @property
    def asks_people(self) -> bool:
        return self.unconvertible == "quarantine"

    def _typed(self, value: sql.Composed, column: Column | None) -> sql.Composed:
        return value if column is None else cast(value, column.type)


@dataclass(frozen=True, kw_only=True)
class _Renamed(Convert):
    """A conversion of a table some of whose columns have other names than it is declared with."""

    declared_names: Mapping[str, str] = field(hash=False)

    def declared(self, column: str) -> str:
        return self.declared_names[column]


def with_names(expressions: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Expressions by column, with other names of the columns."""
    return {names.get(name, name): renamed(text, names) for name, text in expressions.items()}


def cast(value: sql.Composable, type_: str) -> sql.Composed:
    """SQL of a value as a type; where that has a length, the column itself refuses a longer one."""
    cut = _CUT.fullmatch(type_)
    if cut:
        type_ = _UNCUT.get(cut[1], cut[1])
    return sql.SQL("({}::{})").format(value, code(type_))


def as_one(values: Iterable[sql.Composable]) -> sql.Composable:
    """SQL of a value; of several, one row."""
    listed = list(values)
    return listed[0] if len(listed) == 1 else sql.SQL("ROW({})").format(sql.SQL(", ").join(listed))
