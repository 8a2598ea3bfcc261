"""What a phase changes in the schema, as the plan declares it: a diff of two expected catalogs."""

from dataclasses import dataclass, field
from typing import Literal

from rollout.plan.catalog import KINDS, VIEW, Catalog, Kind, Part, what_has
from rollout.plan.expected_catalogs import expected
from rollout.plan.plan import Plan
from rollout.plan.sql_files import SqlFile

Sign = Literal["added", "changed", "dropped"]


@dataclass(frozen=True)
class Change:
    """A part of a table on both sides of a phase; empty on a side that lacks it."""

    kind: Kind
    name: str
    before: str
    after: str

    @property
    def sign(self) -> Sign:
        return _sign(self.before, self.after)


@dataclass(frozen=True)
class TableChange:
    """A table or view that differs. ``sign`` is that of the table itself: changed in its parts."""

    table: str
    sign: Sign
    noun: str
    """Table, view or materialized view."""
    is_view: bool
    parts: tuple[Change, ...]


@dataclass(frozen=True)
class SchemaChange:
    """What a phase changes in one direction. Of ``sql_files`` only their SQL says what changes."""

    tables: tuple[TableChange, ...]
    sql_files: tuple[str, ...] = field(default=())

    def count(self, sign: Sign) -> int:
        return sum(part.sign == sign for table in self.tables for part in table.parts)

    @property
    def added(self) -> int:
        return self.count("added")

    @property
    def changed(self) -> int:
        return self.count("changed")

    @property
    def dropped(self) -> int:
        return self.count("dropped")


def of_phase(plan: Plan, number: int, *, back: bool = False) -> SchemaChange:
    """What a phase changes from the end of the one before it to its own, or its rollback."""
    before, after = expected(plan, number), expected(plan, number + 1)
    steps = plan.phases[number].steps
    for step in steps:
        named, met = plan.as_met_by(step)
        for (table, column), text in met.defaults_by_data(named).items():
            after.put(table, Part("default", column), text)
    tables = between(after, before) if back else between(before, after)
    return SchemaChange(tables, tuple(s.description for s in steps if isinstance(s, SqlFile)))


def between(before: Catalog, after: Catalog) -> tuple[TableChange, ...]:
    """Every table that differs, by name; its parts by kind, then by name.

    The columns of a view are left out: they follow from its query, which the plan cannot read.
    """
    tables = []
    for label in sorted(before.tables.keys() | after.tables.keys()):
        was, now = before.tables.get(label), after.tables.get(label)
        noun = what_has(was or now or {}).removeprefix("a ")
        is_view = VIEW in (was or {}) or VIEW in (now or {})
        parts = tuple(p for p in _parts(was or {}, now or {}) if not is_view or p.kind != "column")
        if parts or was is None or now is None:
            sign: Sign = "added" if was is None else "dropped" if now is None else "changed"
            tables.append(TableChange(label, sign, noun, is_view, parts))
    return tuple(tables)


def _parts(was: dict[Part, str], now: dict[Part, str]) -> tuple[Change, ...]:
    names = {part for part in was.keys() | now.keys() if was.get(part) != now.get(part)} - {VIEW}
    return tuple(
        Change(part.kind, part.name, was.get(part, ""), now.get(part, ""))
        for part in sorted(names, key=lambda part: (KINDS.index(part.kind), part.name))
    )


def _sign(before: str, after: str) -> Sign:
    return "added" if not before else "dropped" if not after else "changed"
