"""Names that new columns take from legacy ones with the cutover, and give back in its rollback.

From the cutover on a column ``price`` is the new one, and the legacy one is ``price_legacy`` until
phase 4 drops it. Every step before the cutover is of the names before, every later one of those
after it: the same declarations, with other names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, LiteralString, Protocol

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Action, Lock, LockMode, Statement
from rollout.plan.conversions import Conversion
from rollout.plan.names import identifier
from rollout.plan.swaps import Carried, swap
from rollout.plan.table import Table
from rollout.plan.translations import Computed, Lookup, Translation

Names = Mapping[str, str]


class Turn(Protocol):
    """What gives the statement that turns the triggers round."""

    def __call__(self, *, between: Sequence[sql.Composable]) -> Statement: ...


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


def left(names: Names, carried: Iterable[str]) -> dict[str, str]:
    """The names without those of columns whose indexes and constraints go along."""
    return {old: new for old, new in names.items() if old not in carried}


def tables_of(step: Any) -> list[Table]:
    """The tables that a step is of."""
    values = (getattr(step, field.name) for field in fields(step))
    return [value for value in values if isinstance(value, Table)]


def over(step: Any, of: Mapping[Any, Any], left: Mapping[Table, Names]) -> Any:
    """The step over the successors of its tables and translations.

    ``left`` are the names of columns whose indexes stay with them.
    """
    changed: dict[str, Any] = {}
    if step.is_of_before and step.table in left:
        own = left[step.table]
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
    turn: Turn,
    *,
    clear: Sequence[sql.Composable],
    carried: Carried | None,
) -> Statement:
    """One short transaction: the new columns take the legacy ones' names, and the triggers turn.

    ``turn`` gives the statement that turns them, with another in its middle. ``clear`` are those
    that take away what the triggers of before have had; ``carried`` says whose keys, indexes,
    constraints and sequences go along. The comment, statistics target, options and rights of a
    column are copied from the legacy column.
    """
    pairs = _pairs(table, names)
    changes = [change for p in pairs for change in (*p.copies, *p.handed_on)]
    return _in_one(table, clear, turn, changes, carried, are_handed_on(table, names))


def hand_back(
    table: Table,
    names: Names,
    turn: Turn,
    *,
    clear: Sequence[sql.Composable],
    carried: Carried | None,
) -> Statement:
    """The same the other way."""
    pairs = _pairs(table, names)
    changes = [change for p in pairs for change in (*p.clears, *p.handed_back)]
    there = facts.all_of(
        *(facts.column_exists(table, p.new) for p in pairs),
        *(facts.no(facts.column_exists(table, p.aside)) for p in pairs),
    )
    return _in_one(table, clear, turn, changes, carried, there)


def _in_one(
    table: Table,
    clear: Sequence[sql.Composable],
    turn: Turn,
    changes: Sequence[sql.Composable],
    carried: Carried | None,
    there: sql.Composable,
) -> Statement:
    # No table is locked for functions.
    turned = turn(between=[swap(table, changes, carried)])
    assert turned.done is not None
    return replace(
        turned,
        sql=sql.SQL(";\n").join([*clear, turned.sql]),
        done=facts.all_of(there, turned.done),
        locks=(Lock(LockMode.ACCESS_EXCLUSIVE, table.label),),
    )


# Of a new column that takes a legacy one's name: what that one has of its own, and it lacks. A
# partition has its own.
_COPIES: tuple[LiteralString, ...] = (
    """SELECT 9, {number}, v.ddl FROM ({relations}) AS r
    JOIN pg_attribute AS o ON o.attrelid = r.oid AND o.attname = {legacy}
    JOIN pg_attribute AS n ON n.attrelid = r.oid AND n.attname = {new}
    CROSS JOIN LATERAL (VALUES
      (CASE WHEN o.attstattarget >= 0 AND coalesce(n.attstattarget, -1) < 0 THEN
         format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS %s', r.oid::regclass, n.attname,
           o.attstattarget) END),
      (CASE WHEN n.attoptions IS NULL AND o.attoptions <> '{{}}' THEN
         format('ALTER TABLE ONLY %s ALTER COLUMN %I SET (%s)', r.oid::regclass, n.attname,
           array_to_string(o.attoptions, ', ')) END),
      (CASE WHEN col_description(n.attrelid, n.attnum) IS NULL
         AND col_description(o.attrelid, o.attnum) IS NOT NULL THEN
         format('COMMENT ON COLUMN %s.%I IS %L', r.oid::regclass, n.attname,
           col_description(o.attrelid, o.attnum)) END)) AS v (ddl)
   WHERE v.ddl IS NOT NULL""",
    """SELECT 9, {number}, format('GRANT %s (%I) ON TABLE %s TO %s%s', g.privilege_type, {new},
         r.oid::regclass, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
         CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM ({relations}) AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = {legacy}
    CROSS JOIN LATERAL aclexplode(a.attacl) AS g""",
)
# The rights of a new column stay: phase 1 gave them, but to no partition.
_CLEARS: tuple[LiteralString, ...] = (
    """SELECT 9, {number}, v.ddl FROM ({relations}) AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = {legacy}
    CROSS JOIN LATERAL (VALUES
      (CASE WHEN a.attstattarget >= 0 THEN
         format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS -1', r.oid::regclass,
           a.attname) END),
      (CASE WHEN a.attoptions <> '{{}}' THEN
         format('ALTER TABLE ONLY %s ALTER COLUMN %I RESET (n_distinct, n_distinct_inherited)',
           r.oid::regclass, a.attname) END),
      (CASE WHEN col_description(a.attrelid, a.attnum) IS NOT NULL THEN
         format('COMMENT ON COLUMN %s.%I IS NULL', r.oid::regclass, a.attname) END)) AS v (ddl)
   WHERE v.ddl IS NOT NULL""",
    """SELECT 9, {number}, format('REVOKE ALL (%I) ON TABLE %s FROM %s', a.attname,
         r.oid::regclass, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
    FROM ({relations}) AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = {legacy}
    CROSS JOIN LATERAL aclexplode(a.attacl) AS g
   WHERE r.oid <> {table}""",
)
# From PostgreSQL 18 on NOT NULL has a name: the winner gets that of the loser, which gets its own.
# That of a partition that was attached may have another name: then all keep theirs.
_NOT_NULL: LiteralString = """SELECT 10, {number} + v.n, v.ddl FROM (
    SELECT max(k.conname) FILTER (WHERE a.attname = {loser}) AS lost,
           max(k.conname) FILTER (WHERE a.attname = {winner}) AS won
      FROM pg_constraint AS k JOIN pg_attribute AS a
        ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
     WHERE k.conrelid = {table} AND k.contype = 'n') AS names
    CROSS JOIN LATERAL (VALUES
      (0, format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {label}, lost, {usual})),
      (1, format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {label}, won, lost))) AS v (n, ddl)
   WHERE lost <> {usual} AND won IS NOT NULL AND NOT EXISTS (
     SELECT FROM ({relations}) AS r CROSS JOIN (VALUES (lost), (won)) AS u (name)
      WHERE NOT EXISTS (SELECT FROM pg_constraint AS k
        WHERE k.conrelid = r.oid AND k.contype = 'n' AND k.conname = u.name))"""


@dataclass(frozen=True)
class _Pair:
    """A legacy column and the new one that takes its name; ``aside`` is its name meanwhile.

    Its parts are queries of statements, with their place and number, over the names of before.
    """

    number: int
    table: Table
    legacy: str
    aside: str
    new: str

    @property
    def copies(self) -> Sequence[sql.Composable]:
        """What the legacy column has of its own, and the new one lacks."""
        return [
            self._query(query, legacy=sql.Literal(self.legacy), new=sql.Literal(self.new))
            for query in _COPIES
        ]

    @property
    def handed_on(self) -> Sequence[sql.Composable]:
        return [
            self._not_null(loser=self.legacy, winner=self.new, usual=self.aside),
            *self._renames((self.legacy, self.aside), (self.new, self.legacy)),
        ]

    @property
    def clears(self) -> Sequence[sql.Composable]:
        """The new column has nothing of the legacy one's any more."""
        return [self._query(query, legacy=sql.Literal(self.legacy)) for query in _CLEARS]

    @property
    def handed_back(self) -> Sequence[sql.Composable]:
        return [
            self._not_null(loser=self.legacy, winner=self.aside, usual=self.new),
            *self._renames((self.legacy, self.new), (self.aside, self.legacy)),
        ]

    def _renames(self, *names: tuple[str, str]) -> Sequence[sql.Composable]:
        return self._statements(
            11,
            *(
                sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
                    self.table.identifier, sql.Identifier(before), sql.Identifier(after)
                )
                for before, after in names
            ),
        )

    def _statements(self, place: int, *statements: sql.Composed) -> Sequence[sql.Composable]:
        return [
            sql.SQL("SELECT {}, {}, {}").format(
                sql.Literal(place),
                sql.Literal(self.number + n),
                sql.Literal(statement.as_string()),
            )
            for n, statement in enumerate(statements)
        ]

    def _not_null(self, *, loser: str, winner: str, usual: str) -> sql.Composed:
        return self._query(
            _NOT_NULL,
            loser=sql.Literal(loser),
            winner=sql.Literal(winner),
            usual=sql.Literal(identifier(self.table.name, usual, "not_null")),
        )

    def _query(self, query: LiteralString, **names: sql.Composable) -> sql.Composed:
        return sql.SQL(query).format(
            number=sql.Literal(self.number),
            table=self.table.regclass,
            relations=self.table.relations,
            label=sql.Literal(self.table.identifier.as_string()),
            **names,
        )


def _pairs(table: Table, names: Names) -> list[_Pair]:
    legacy_of = {new: legacy for new, legacy in names.items() if legacy in names}
    return [
        _Pair(10 * n, table, legacy, names[legacy], new)
        for n, (new, legacy) in enumerate(legacy_of.items())
    ]
