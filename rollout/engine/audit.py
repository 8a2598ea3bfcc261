"""The full audit: one scan of a table classifies every row, in one snapshot, exactly.

``GROUP BY`` all legacy and new values gives the distinct combinations with their counts; those are
few, and classifying them here accounts for every row without a join per row.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from psycopg import IsolationLevel, sql

from rollout.engine.catalog import live_columns, tables_of
from rollout.engine.target import Connection, ask
from rollout.plan import facts
from rollout.plan.names import SCHEMA, in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.table import Table
from rollout.plan.translations import ColumnTranslation, Derived, Lookup

MATCHED = ("both_null", "ok", "ok_normalized", "ok_mapped")
MISMATCHED = ("unmapped", "missing", "unexpected", "wrong", "orphan")
CATEGORIES = (*MATCHED, *MISMATCHED)
"""Mildest first: a row counts in the worst category among its translations.

both_null      no legacy value, no new value
ok             the lookup row bears the legacy text; a derived value is as its expression says
ok_normalized  the same but for white space and case
ok_mapped      the mapping says so (a blank text and the row for blanks, for instance)
unmapped       the legacy text has no lookup row yet
missing        the mapping has a lookup row, the new column is null
unexpected     a new value without a legacy value that it could come from
wrong          another value than the legacy value says
orphan         the lookup row does not exist
"""
STORED = 10_000


@dataclass(frozen=True)
class Cell:
    """One cell of a crosstab: a legacy value beside a new value, and how many rows have both."""

    legacy: str | None
    new: str | None
    category: str
    rows: int


@dataclass(frozen=True)
class TranslationResult:
    """What the audit found for one translation. The cells' rows add up to the table's."""

    table: str
    column: str
    legacy_column: str
    lookup_table: str
    cells: list[Cell]

    @property
    def categories(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for cell in self.cells:
            counts[cell.category] += cell.rows
        return dict(counts)


@dataclass(frozen=True)
class RowMismatch:
    """A row that is not as it should be, in one translation."""

    table: str
    key: str
    column: str
    category: str
    legacy: str | None
    expected: str | None
    actual: str | None


@dataclass
class AuditResult:
    """A finished audit. ``inconclusive`` says why nothing could be compared, or is empty."""

    inconclusive: str = ""
    categories: dict[str, int] = field(default_factory=dict)
    translations: list[TranslationResult] = field(default_factory=list)
    mismatches: list[RowMismatch] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(self.categories.values())

    @property
    def mismatched(self) -> int:
        return sum(n for category, n in self.categories.items() if category in MISMATCHED)

    @property
    def matched(self) -> int:
        return self.rows - self.mismatched


class _LookupRules:
    """How one lookup's pairs are classified, from its mapping and rows in the audit's snapshot."""

    def __init__(self, connection: Connection, plan: Plan, lookup: Lookup, *, legacy: bool) -> None:
        self.lookup = lookup
        self.legacy = legacy
        self.names: dict[int, str] = dict(
            connection.execute(
                sql.SQL("SELECT id, name FROM {}").format(lookup.lookup_sql)
            ).fetchall()
        )
        self.mapping: dict[str, tuple[int | None, str]] = {}
        if legacy:
            rows = connection.execute(
                sql.SQL(
                    "SELECT m.legacy, m.lookup_id, CASE WHEN l.name = m.legacy THEN 'ok'"
                    " WHEN {name} = {text} THEN 'ok_normalized'"
                    " WHEN {text} = '' AND l.id IS NULL THEN 'both_null' ELSE 'ok_mapped' END"
                    " FROM {mapping} AS m LEFT JOIN {lookup} AS l ON l.id = m.lookup_id"
                ).format(
                    name=normal(sql.Identifier("l", "name")),
                    text=normal(sql.Identifier("m", "legacy")),
                    mapping=in_target(lookup.mapping_name(plan.name)),
                    lookup=lookup.lookup_sql,
                )
            ).fetchall()
            self.mapping = {text: (row, category) for text, row, category in rows}

    @property
    def grouped(self) -> list[sql.Composable]:
        legacy = sql.Identifier("t", self.lookup.legacy) if self.legacy else sql.SQL("NULL::text")
        return [legacy, sql.Identifier("t", self.lookup.column)]

    def classify(self, legacy: str | None, new: int | None) -> str:
        if new is not None and new not in self.names:
            return "orphan"
        if not self.legacy:
            return "missing" if new is None and self.lookup.required else "ok"
        expected, same = self.mapping.get(legacy or "", (None, ""))
        if expected is None:
            if same != "both_null" or self.lookup.blank is not None:
                return "unmapped"
            return same if new is None else "unexpected"
        if new is None:
            return "missing"
        return same if new == expected else "wrong"

    def expected_name(self, legacy: str | None) -> str | None:
        expected, _ = self.mapping.get(legacy or "", (None, ""))
        return self.names.get(expected) if expected is not None else None

    def new_name(self, new: int | None) -> str | None:
        return None if new is None else self.names.get(new, f"#{new} (no such row)")


def run_audit(connection: Connection, plan: Plan) -> AuditResult:
    """Audit every translated table of a plan in one snapshot that writes nothing."""
    connection.execute("SET statement_timeout = 0")
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        live = live_columns(connection, tables_of(plan))
        result = AuditResult()
        for table in plan.audited_tables:
            reason = _why_not(connection, plan, table, set(live.get(table.label, {})))
            if reason:
                return AuditResult(inconclusive=reason)
            _audit_table(connection, plan, table, set(live[table.label]), result)
        return result


def _why_not(connection: Connection, plan: Plan, table: Table, columns: set[str]) -> str:
    absent = [t.column for t in plan.translations_of(table) if t.column not in columns]
    if absent:
        return (
            f"{table.label} has no column {absent[0]} yet, so there is nothing to compare. "
            "Start phase 1 and phase 2 first."
        )
    for lookup in plan.lookups_of(table):
        name = lookup.mapping_name(plan.name)
        mapped = ask(connection, facts.relation_exists(sql.Identifier(SCHEMA, name)))
        if lookup.legacy in columns and not mapped:
            return (
                f"{table.label}.{lookup.legacy} has no mapping yet, so nothing says what its "
                "values should become. Start phase 2 first."
            )
    return ""


def _audit_table(
    connection: Connection, plan: Plan, table: Table, columns: set[str], result: AuditResult
) -> None:
    lookups = [
        _LookupRules(connection, plan, lookup, legacy=lookup.legacy in columns)
        for lookup in plan.lookups_of(table)
    ]
    derived = [
        t
        for t in plan.translations_of(table)
        if isinstance(t, Derived) and columns.issuperset(t.reads)
    ]
    grouped = [part for rules in lookups for part in rules.grouped] + [
        _derived_state(t) for t in derived
    ]
    combinations = connection.execute(
        sql.SQL("SELECT {}, count(*) FROM {} AS t GROUP BY {}").format(
            sql.SQL(", ").join(grouped),
            table.identifier,
            sql.SQL(", ").join(sql.Literal(n + 1) for n in range(len(grouped))),
        )
    ).fetchall()
    cells: list[Counter[tuple[str | None, str | None, str]]] = [
        Counter() for _ in (*lookups, *derived)
    ]
    per_row: Counter[str] = Counter()
    for *values, rows in combinations:
        categories = []
        for number, (legacy, new, category) in enumerate(_classified(lookups, values)):
            categories.append(category)
            cells[number][legacy, new, category] += rows
        per_row[max(categories, key=CATEGORIES.index)] += rows
    for category, rows in per_row.items():
        result.categories[category] = result.categories.get(category, 0) + rows
    translations: list[ColumnTranslation] = [*(rules.lookup for rules in lookups), *derived]
    for translation, counted in zip(translations, cells, strict=True):
        result.translations.append(
            TranslationResult(
                table=table.label,
                column=translation.column,
                legacy_column=", ".join(translation.reads),
                lookup_table=translation.lookup_label if isinstance(translation, Lookup) else "",
                cells=sorted(
                    (Cell(*pair, rows) for pair, rows in counted.items()),
                    key=lambda cell: (-CATEGORIES.index(cell.category), -cell.rows),
                ),
            )
        )
    if any(category in MISMATCHED for category in per_row):
        for rules in lookups:
            result.mismatches += _lookup_mismatches(connection, plan, table, rules, result)
        for expression in derived:
            result.mismatches += _derived_mismatches(connection, table, expression, result)


def _classified(
    lookups: list[_LookupRules], values: list[Any]
) -> Iterator[tuple[str | None, str | None, str]]:
    for number, rules in enumerate(lookups):
        legacy, new = values[2 * number], values[2 * number + 1]
        yield legacy, rules.new_name(new), rules.classify(legacy, new)
    for category in values[2 * len(lookups) :]:
        yield None, None, category


def _derived_state(translation: Derived) -> sql.Composable:
    return sql.SQL(
        "CASE WHEN {column} IS NOT DISTINCT FROM {value}"
        " THEN CASE WHEN {column} IS NULL THEN 'both_null' ELSE 'ok' END"
        " WHEN {column} IS NULL THEN 'missing' WHEN {value} IS NULL THEN 'unexpected'"
        " ELSE 'wrong' END"
    ).format(column=sql.Identifier("t", translation.column), value=translation.value("t"))


def _key_text(table: Table) -> sql.Composable:
    return sql.SQL("concat_ws(',', {})").format(table.key_of("t"))


def _lookup_mismatches(
    connection: Connection, plan: Plan, table: Table, rules: _LookupRules, result: AuditResult
) -> list[RowMismatch]:
    """The rows of a lookup's mismatching pairs, as many as there is room for."""
    legacy, new = rules.grouped
    wrong = sql.SQL("(l.id IS NULL AND {new} IS NOT NULL)").format(new=new)
    mapping: sql.Composable = sql.SQL("")
    if rules.legacy:
        mapping = sql.SQL("LEFT JOIN {} AS m ON m.legacy = {}").format(
            in_target(rules.lookup.mapping_name(plan.name)), rules.lookup.legacy_text("t")
        )
        wrong = sql.SQL("({} OR {} IS DISTINCT FROM m.lookup_id{})").format(
            wrong,
            new,
            sql.SQL(" OR m.lookup_id IS NULL")
            if rules.lookup.blank is not None
            else sql.SQL(" OR m.legacy IS NULL OR (m.lookup_id IS NULL AND {} <> '')").format(
                normal(legacy)
            ),
        )
    elif rules.lookup.required:
        wrong = sql.SQL("({} OR {} IS NULL)").format(wrong, new)
    rows = connection.execute(
        sql.SQL(
            "SELECT {key}, {legacy}, {new} FROM {table} AS t {mapping}"
            " LEFT JOIN {lookup} AS l ON l.id = {new} WHERE {wrong} LIMIT {limit}"
        ).format(
            key=_key_text(table),
            legacy=legacy,
            new=new,
            table=table.identifier,
            mapping=mapping,
            lookup=rules.lookup.lookup_sql,
            wrong=wrong,
            limit=sql.Literal(STORED - len(result.mismatches)),
        )
    ).fetchall()
    found = []
    for key, text, value in rows:
        category = rules.classify(text, value)
        if category in MISMATCHED:
            found.append(
                RowMismatch(
                    table.label,
                    key,
                    rules.lookup.column,
                    category,
                    text,
                    rules.expected_name(text),
                    rules.new_name(value),
                )
            )
    return found


def _derived_mismatches(
    connection: Connection, table: Table, translation: Derived, result: AuditResult
) -> list[RowMismatch]:
    column = sql.Identifier("t", translation.column)
    value = translation.value("t")
    rows = connection.execute(
        sql.SQL(
            "SELECT {}, {}, {}::text, {}::text, concat_ws(', ', {}) FROM {} AS t"
            " WHERE {} IS DISTINCT FROM {} LIMIT {}"
        ).format(
            _key_text(table),
            _derived_state(translation),
            value,
            column,
            sql.SQL(", ").join(sql.Identifier("t", name) for name in translation.reads)
            if translation.reads
            else sql.SQL("NULL"),
            table.identifier,
            column,
            value,
            sql.Literal(STORED - len(result.mismatches)),
        )
    ).fetchall()
    return [
        RowMismatch(
            table.label, key, translation.column, category, source or None, expected, actual
        )
        for key, category, expected, actual, source in rows
    ]
