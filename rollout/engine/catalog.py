"""What the live tables look like, and how that differs from what a plan expects."""

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.engine.target import Connection
from rollout.plan.plan import Plan
from rollout.plan.step import Shape
from rollout.plan.table import Column


@dataclass(frozen=True)
class Drift:
    """One difference between the expected and the live schema."""

    table: str
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        name = f"{self.table}.{self.column}" if self.column else self.table
        return f"{name}: expected {self.expected}, found {self.found}"


def live_columns(connection: Connection, tables: Iterable[str]) -> Shape:
    """The columns of those of the tables that exist; a table is named as in ``Table.label``."""
    rows = connection.execute(
        """
        SELECT CASE WHEN n.nspname = 'public' THEN c.relname
                    ELSE n.nspname || '.' || c.relname END AS label,
               a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relkind IN ('r', 'p')
           AND CASE WHEN n.nspname = 'public' THEN c.relname
                    ELSE n.nspname || '.' || c.relname END = ANY (%s)
         ORDER BY 1, a.attnum
        """,
        [list(tables)],
    ).fetchall()
    shape: Shape = {}
    for table, column, type_name, null in rows:
        shape.setdefault(table, {})[column] = Column(type_name, null)
    return shape


def compare(plan: Plan, *, phases_done: int, live: Shape) -> list[Drift]:
    """Every difference: columns missing or different, and new tables and columns there too early.

    Columns that the plan says nothing about are the application's own affair.
    """
    expected = plan.shape(phases_done)
    final = [plan.shape(number) for number in range(len(plan.phases) + 1)]
    drifts = [
        Drift(table, "", "no table in this phase", "a table")
        for table in live
        if table not in expected
    ]
    for table, columns in expected.items():
        if table not in live:
            drifts.append(Drift(table, "", "a table", "none"))
            continue
        for name, column in columns.items():
            found = live[table].get(name)
            if found != column:
                drifts.append(
                    Drift(table, name, describe(column), describe(found) if found else "no column")
                )
        of_other_phases = {name for shape in final for name in shape.get(table, {})}
        drifts += [
            Drift(table, name, "no column in this phase", describe(live[table][name]))
            for name in live[table]
            if name in of_other_phases and name not in columns
        ]
    return drifts


def tables_of(plan: Plan) -> list[str]:
    """Every table that the plan knows in some phase."""
    return sorted({t for number in range(len(plan.phases) + 1) for t in plan.shape(number)})


def describe(column: Column) -> str:
    return column.type if column.null else f"{column.type} not null"
