"""What the live database looks like, and how that differs from what a plan expects."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from rollout.engine import catalog_sql
from rollout.engine.target import Connection
from rollout.plan.catalog import (
    EXPRESSION,
    PLAIN,
    POPULATED,
    VIEW,
    Catalog,
    Kind,
    Part,
    check_text,
    column_text,
    foreign_key_text,
    trigger_text,
    unique_text,
    what_has,
)
from rollout.plan.expected_catalogs import (
    changed_by,
    expected,
    known_parts,
    labels,
    settled_triggers,
)
from rollout.plan.plan import Plan
from rollout.plan.table import Column, Shape, Table

# UNIQUE without INCLUDE, NULLS NOT DISTINCT and the like: its columns say all of it.
_PLAIN_UNIQUE = re.compile(r"UNIQUE \((?!.*\) INCLUDE \().*\)", re.DOTALL)


@dataclass(frozen=True)
class Drift:
    """One difference between the expected and the live schema.

    ``column`` names a column, or the part of the table that ``kind`` says; it is empty where the
    table itself is what differs.
    """

    table: str
    column: str
    expected: str
    found: str
    kind: Kind = "column"

    @property
    def name(self) -> str:
        if self.kind == "column":
            return f"{self.table}.{self.column}" if self.column else self.table
        return f"{self.table} {self.part}"

    @property
    def is_wanted(self) -> bool:
        """Whether the plan expects something there, rather than nothing."""
        return self.expected != _nothing(self.kind)

    @property
    def is_table(self) -> bool:
        """Whether the table itself is what differs."""
        return self.kind == "column" and not self.column

    @property
    def part(self) -> str:
        return f"{self.kind} {self.column}".strip()

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, found {self.found}"


def live_columns(connection: Connection, tables: Iterable[str]) -> Shape:
    """The columns of those of the tables that exist; a table is named as in ``Table.label``."""
    rows = connection.execute(
        catalog_sql.COLUMNS_OF_TABLES.encode(), {"tables": list(tables)}
    ).fetchall()
    shape: Shape = {}
    for table, column, type_name, null in rows:
        shape.setdefault(table, {})[column] = Column(type_name, null)
    return shape


def columns_of(connection: Connection, plan: Plan, table: Table) -> set[str]:
    """The columns that a table of the plan has now."""
    return set(live_columns(connection, tables_of(plan)).get(table.label, {}))


def read(connection: Connection, tables: Iterable[str], *, in_full: bool = False) -> Catalog:
    """The live catalog of the named tables and views that exist.

    ``in_full`` adds the expressions of indexes: the plan's own text of them differs from the
    server's.
    """
    row = connection.execute(catalog_sql.EVERYTHING.encode(), {"tables": list(tables)}).fetchone()
    assert row is not None
    rows, columns, indexes, constraints, triggers, has_engine = row
    catalog = Catalog(has_engine=has_engine)
    for label, kind, populated in rows:
        catalog.tables[label] = {}
        if kind == "m":
            catalog.put(label, VIEW, POPULATED if populated else "not populated")
        elif kind == "v":
            catalog.put(label, VIEW, PLAIN)
    for label, name, type_, null, default in columns:
        catalog.put(label, Part("column", name), column_text(Column(type_, null)))
        if default:
            catalog.put(label, Part("default", name), default)
    for label, name, definition, expressions, valid, where in indexes:
        of = ", ".join(
            text if in_full or is_expression == "false" else EXPRESSION
            for text, is_expression in expressions
        )
        text = f"{definition} ({of}){where}, {'valid' if valid else 'invalid'}"
        catalog.put(label, Part("index", name), text)
    for label, name, kind, definition, key, target, far, valid, acts, note in constraints:
        if kind == "p":
            catalog.put(label, Part("primary key"), f"({', '.join(key)})")
            continue
        text = definition
        if kind == "f":
            text = foreign_key_text(tuple(key), target, tuple(far), valid=valid) + acts
        elif note and not in_full:
            text = check_text(note, valid=valid)
        elif kind == "u" and _PLAIN_UNIQUE.fullmatch(definition):
            text = unique_text(tuple(key))
        catalog.put(label, Part("constraint", name), text)
    _put_triggers(catalog, triggers)
    return catalog


def read_triggers(connection: Connection, tables: Iterable[str]) -> Catalog:
    """The live catalog of the named tables and views with triggers alone, read in less time."""
    row = connection.execute(catalog_sql.TRIGGERS.encode(), {"tables": list(tables)}).fetchone()
    assert row is not None
    rows, triggers = row
    catalog = Catalog(tables={label: {} for label, *_ in rows})
    _put_triggers(catalog, triggers)
    return catalog


def _put_triggers(catalog: Catalog, triggers: Iterable[tuple[str, str, bool, str, str]]) -> None:
    for label, name, enabled, stage, function in triggers:
        text = trigger_text(stage or f"calls {function}", enabled=enabled)
        catalog.put(label, Part("trigger", name), text)


ENGINE = "schema rollout"
_NO_ENGINE = (
    "none (dropped). Restore it from a backup; without one, roll back to phase 1, which recreates "
    "it, and start again"
)


def compare(
    plan: Plan, *, phases_done: int, live: Catalog, steps_done: int | None = None
) -> list[Drift]:
    """Every difference: parts missing or different, and parts of other phases that are there.

    What the plan says nothing about is the application's own affair. Once the next phase has begun,
    with ``steps_done`` steps, what it changes is left out, but for triggers that must be there.
    """
    right = expected(plan, phases_done)
    left_out: set[tuple[str, Part]] = set()
    if steps_done is not None:
        settled = settled_triggers(plan, phases_done, steps_done)
        left_out = changed_by(plan, phases_done) - settled.keys()
        for (table, part), text in settled.items():
            right.put(table, part, text)
    known = known_parts(plan)
    drifts: list[Drift] = []
    if not live.has_engine and (phases_done or steps_done):
        drifts.append(Drift(ENGINE, "", "the schema with the engine's state", _NO_ENGINE))
    for table in sorted(right.tables.keys() | live.tables.keys()):
        wanted, actual = right.tables.get(table), live.tables.get(table)
        changing = {part for name, part in left_out if name == table}
        if wanted is None or actual is None:
            if not changing:
                drifts.append(_table_drift(table, wanted, actual))
            continue
        drifts += differences(
            table,
            wanted,
            {p: text for p, text in actual.items() if (table, p) in known},
            besides=changing,
        )
    return drifts


def _table_drift(
    table: str, wanted: dict[Part, str] | None, actual: dict[Part, str] | None
) -> Drift:
    if wanted is None:
        there = what_has(actual or {})
        return Drift(table, "", f"no {there.removeprefix('a ')} in this phase", there)
    return Drift(table, "", what_has(wanted), "none")


def differences(
    table: str,
    wanted: Mapping[Part, str],
    actual: Mapping[Part, str],
    *,
    besides: Collection[Part] = (),
) -> list[Drift]:
    """How the parts of one table differ from those of another."""
    return [
        Drift(
            table,
            part.name,
            wanted.get(part) or _nothing(part.kind),
            actual.get(part) or f"no {part.kind}",
            part.kind,
        )
        for part in sorted(wanted.keys() | actual.keys())
        if part not in besides and wanted.get(part) != actual.get(part)
    ]


def _nothing(kind: str) -> str:
    return f"no {kind} in this phase"


def labels_of(plan: Plan) -> list[str]:
    """Every table and view that the plan knows in some phase."""
    return labels(plan)


def tables_of(plan: Plan) -> list[str]:
    """Every table that the plan knows in some phase."""
    return sorted({t for number in range(len(plan.phases) + 1) for t in plan.shape(number)})
