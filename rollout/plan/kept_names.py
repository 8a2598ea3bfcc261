"""Names that new columns take from legacy ones with the cutover, and give back in its rollback.

From the cutover on a column ``price`` is the new one, and the legacy one is ``price_legacy`` until
phase 4 drops it. Every step before the cutover is of the names before, every later one of those
after it: the same declarations, with other names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, LiteralString

from psycopg import sql

from rollout.plan import attributes, facts
from rollout.plan.actions import Action, Lock, LockMode, Statement
from rollout.plan.conversions import Conversion
from rollout.plan.names import identifier
from rollout.plan.table import Table
from rollout.plan.translations import Computed, Lookup, Translation

Names = Mapping[str, str]


def successors(names: Mapping[Table, Names], translations: Iterable[Translation]) -> dict[Any, Any]:
    """By table and translation, the same with the names that columns have after the cutover."""
    of: dict[Any, Any] = {table: table.renamed(names[table]) for table in names}
    for t in translations:
        if t.table in names:
            of[t] = (
                t.renamed(of[t.table], names[t.table])
                if isinstance(t, Conversion)
                else replace(t, table=of[t.table])
            )
    return of


def tables_of(step: Any) -> list[Table]:
    """The tables that a step is of."""
    values = (getattr(step, field.name) for field in fields(step))
    return [value for value in values if isinstance(value, Table)]


def over(step: Any, of: Mapping[Any, Any], names: Mapping[Table, Names]) -> Any:
    """The step over the successors of its tables and translations."""
    changed: dict[str, Any] = {}
    if step.is_of_before and step.table in names:
        own = names[step.table]
        changed["columns"] = tuple(own.get(column, column) for column in step.columns)
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, Table | Conversion | Lookup | Computed):
            changed[field.name] = of.get(value, value)
        elif isinstance(value, tuple) and any(isinstance(v, Conversion | Lookup) for v in value):
            changed[field.name] = tuple(of.get(v, v) for v in value)
    return replace(step, **changed) if changed else step


def are_handed_on(table: Table, names: Names) -> sql.Composable:
    """SQL condition: the new columns of a table have the names of the legacy ones."""
    pairs = _pairs(table, names)
    return facts.all_of(
        *(facts.column_exists(table, p.aside) for p in pairs),
        *(facts.no(facts.column_exists(table, p.new)) for p in pairs),
    )


def unless_handed_on(table: Table, names: Names, actions: Sequence[Action]) -> tuple[Action, ...]:
    """The actions of a step before the cutover, which are done where the names are handed on."""
    handed_on = are_handed_on(table, names)
    return tuple(
        replace(action, done=sql.SQL("({} OR {})").format(handed_on, action.done))
        if isinstance(action, Statement) and action.done is not None
        else action
        for action in actions
    )


def hand_on(
    table: Table,
    names: Names,
    turn: Statement,
    *,
    clear: Sequence[sql.Composable],
    carried: Sequence[sql.Composable] = (),
) -> Statement:
    """One short transaction: the new columns take the legacy ones' names, and the triggers turn.

    ``clear`` are statements that take away what the triggers of before have had, ``carried`` those
    that hand keys, indexes, constraints and sequences on. The comment, statistics target, options
    and rights of a column are copied from the legacy column.
    """
    pairs = _pairs(table, names)
    lines = [
        *carried,
        *(
            rename
            for p in pairs
            for rename in (p.rename(p.legacy, p.aside), p.rename(p.new, p.legacy))
        ),
        *(copied for p in pairs for copied in (p.copy, p.name_not_null)),
        attributes.let_write(table, {p.legacy: (p.aside,) for p in pairs}),
        *clear,
    ]
    return _in_one(table, lines, turn, are_handed_on(table, names))


def hand_back(
    table: Table,
    names: Names,
    turn: Statement,
    *,
    clear: Sequence[sql.Composable],
    carried: Sequence[sql.Composable] = (),
) -> Statement:
    """The same the other way."""
    pairs = _pairs(table, names)
    lines = [
        *carried,
        *(
            rename
            for p in pairs
            for rename in (p.rename(p.legacy, p.new), p.rename(p.aside, p.legacy))
        ),
        *(cleared for p in pairs for cleared in (p.clear, p.name_not_null_back)),
        *clear,
    ]
    there = facts.all_of(
        *(facts.column_exists(table, p.new) for p in pairs),
        *(facts.no(facts.column_exists(table, p.aside)) for p in pairs),
    )
    return _in_one(table, lines, turn, there)


def _in_one(
    table: Table, lines: Sequence[sql.Composable], turn: Statement, there: sql.Composable
) -> Statement:
    assert turn.done is not None
    body = sql.SQL(";\n").join(lines)
    return replace(
        turn,
        sql=sql.SQL("{};\n{}").format(body, turn.sql),
        done=facts.all_of(there, turn.done),
        locks=(Lock(LockMode.ACCESS_EXCLUSIVE, table.label),),
    )


@dataclass(frozen=True)
class _Pair:
    """A legacy column and the new one that takes its name; ``aside`` is its name meanwhile."""

    table: Table
    legacy: str
    aside: str
    new: str

    def rename(self, before: str, after: str) -> sql.Composed:
        return sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
            self.table.identifier, sql.Identifier(before), sql.Identifier(after)
        )

    @property
    def copy(self) -> sql.Composed:
        """What the legacy column has of its own, and the new one lacks."""
        return self._block(
            "  FOR change IN SELECT v.change FROM pg_attribute AS o JOIN pg_attribute AS n"
            " ON n.attrelid = o.attrelid AND n.attname = {legacy}\n"
            "    CROSS JOIN LATERAL (VALUES\n"
            "      (CASE WHEN o.attstattarget >= 0 AND coalesce(n.attstattarget, -1) < 0 THEN"
            " format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', {label}, n.attname,"
            " o.attstattarget) END),\n"
            "      (CASE WHEN n.attoptions IS NULL THEN format('ALTER TABLE %s ALTER COLUMN %I SET"
            " (%s)', {label}, n.attname, array_to_string(o.attoptions, ', ')) END),\n"
            "      (CASE WHEN col_description(n.attrelid, n.attnum) IS NULL THEN format('COMMENT ON"
            " COLUMN %s.%I IS %L', {label}, n.attname, col_description(o.attrelid, o.attnum))"
            " END)) AS v (change)\n"
            "    WHERE o.attrelid = {table} AND o.attname = {aside} AND v.change IS NOT NULL"
            " AND v.change NOT LIKE '% SET ()' LOOP\n"
            "    EXECUTE change;\n  END LOOP;"
        )

    @property
    def clear(self) -> sql.Composed:
        """The new column has nothing of the legacy one's any more."""
        return sql.SQL(
            "ALTER TABLE {table} ALTER COLUMN {new} SET STATISTICS -1,"
            " ALTER COLUMN {new} RESET (n_distinct, n_distinct_inherited);\n"
            "COMMENT ON COLUMN {table}.{new} IS NULL"
        ).format(table=self.table.identifier, new=sql.Identifier(self.new))

    @property
    def name_not_null(self) -> sql.Composed:
        """From PostgreSQL 18 on NOT NULL has a name, which is handed on as well."""
        return self._not_null(self.aside, self.legacy)

    @property
    def name_not_null_back(self) -> sql.Composed:
        return self._not_null(self.new, self.legacy)

    def _not_null(self, loser: str, winner: str) -> sql.Composed:
        """Give ``winner`` the name that the constraint of ``loser`` has, and that one its own."""
        return self._block(
            "  SELECT max(k.conname) FILTER (WHERE a.attname = {loser}),"
            " max(k.conname) FILTER (WHERE a.attname = {winner}) INTO lost, won\n"
            "    FROM pg_constraint AS k JOIN pg_attribute AS a"
            " ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]\n"
            "    WHERE k.conrelid = {table} AND k.contype = 'n';\n"
            "  IF lost IS NOT NULL AND won IS NOT NULL THEN\n"
            "    change := 'ALTER TABLE %s RENAME CONSTRAINT %I TO %I';\n"
            "    EXECUTE format(change, {label}, lost, {name});\n"
            "    EXECUTE format(change, {label}, won, lost);\n"
            "  END IF;",
            loser=sql.Literal(loser),
            winner=sql.Literal(winner),
            name=sql.Literal(identifier(self.table.name, loser, "not_null")),
        )

    def _block(self, body: LiteralString, **names: sql.Composable) -> sql.Composed:
        text = sql.SQL("DECLARE change text; lost text; won text;\nBEGIN\n{}\nEND").format(
            sql.SQL(body).format(
                table=self.table.regclass,
                label=sql.Literal(self.table.identifier.as_string()),
                legacy=sql.Literal(self.legacy),
                aside=sql.Literal(self.aside),
                **names,
            )
        )
        return sql.SQL("DO {}").format(sql.Literal(text.as_string()))


def _pairs(table: Table, names: Names) -> list[_Pair]:
    legacy_of = {new: legacy for new, legacy in names.items() if legacy in names}
    return [_Pair(table, legacy, names[legacy], new) for new, legacy in legacy_of.items()]
