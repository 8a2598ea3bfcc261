"""What is wrong in one column of a row and what would be right, as SQL over ``t`` and its mapping.

The categories are those of the audit. They are asked here of the live table, row by row, so that a
pass of the backfill can tell in its own statement which rows it is to write.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from rollout.engine.audit.categories import MATCHED
from rollout.engine.audit.rows import texts_of
from rollout.engine.audit.states import conversion_state, expected_text
from rollout.engine.quarantine import key_of
from rollout.plan.conversions import Conversion
from rollout.plan.mapping import text_of_row
from rollout.plan.names import in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.translations import Computed, Lookup, Translation
from rollout.plan.value_decisions import careful_values

# Categories whose right value is unknown, and what to do first.
ADVICE = {
    "unmapped": "Unmapped values cannot be repaired. Review the mapping first.",
    "ambiguous": (
        "Values that differ only in case or whitespace map to different rows. Review the "
        "mapping first."
    ),
    "inactive": (
        "The mapping points to an inactive lookup row. Review the mapping, then update rows from "
        "that review."
    ),
    "undecided": (
        "Values that do not convert cannot be repaired. Decide about them first, or correct the "
        "legacy values."
    ),
}
# Those of a conversion's columns.
OF_CONVERSIONS = ("missing", "unexpected", "computed_differs")
REPAIRABLE = ("missing", "unexpected", "computed_differs", "wrong", "orphan")
# The audit's categories of mismatches, mildest first.
SELECTABLE = (*ADVICE, *REPAIRABLE)


@dataclass(frozen=True, kw_only=True)
class Write:
    """A value that a repair writes where a condition is met; the rest is for people to read."""

    column: str
    condition: sql.Composable
    value: sql.Composable
    category: sql.Composable
    legacy: sql.Composable
    before: sql.Composable
    after: sql.Composable
    from_lookup: bool = False
    """Whether the value is the name of a lookup row, rather than what the mapping says."""


@dataclass(frozen=True)
class Cell:
    """A translation's column in row ``t``: its category, null where it is right, and its cure."""

    translation: Translation
    category: sql.Composable
    writes: tuple[Write, ...]


def lookup_cell(
    plan: Plan,
    lookup: Lookup,
    wanted: Sequence[str],
    filtered: sql.Composable | None,
    *,
    reverse: bool,
) -> Cell:
    """The cell of a lookup. ``wanted`` are the categories to repair, ``filtered`` picks texts."""
    pairs = _Pairs(plan, lookup)
    category = _where(filtered, pairs.category)
    # Without a row of its own a value says nothing, not even after the cutover.
    forward = [
        c
        for c in wanted
        if c in ("missing", "unexpected", "wrong", "orphan")
        and (not reverse or c == "orphan" or (c == "missing" and lookup.blank is not None))
    ]
    back = [
        c
        for c in wanted
        if c in ("missing", "unexpected", "wrong") and reverse and c not in forward
    ]
    column = sql.Identifier("t", lookup.column)
    legacy = sql.Identifier("t", lookup.legacy)
    writes: list[Write] = []
    if forward:
        writes.append(
            Write(
                column=lookup.column,
                condition=_is_one_of(category, forward, pairs.known),
                value=pairs.mapped,
                category=category,
                legacy=legacy,
                before=pairs.name_of(column),
                after=pairs.name_of(pairs.mapped),
            )
        )
    if back:
        writes.append(
            Write(
                column=lookup.legacy,
                condition=_is_one_of(category, back, pairs.name_means_its_row),
                value=lookup.of_text(pairs.text_of_row),
                category=category,
                legacy=legacy,
                before=lookup.text(legacy),
                after=pairs.text_of_row,
                from_lookup=True,
            )
        )
    return Cell(lookup, category, tuple(writes))


def derived_cell(
    plan: Plan,
    derived: Conversion,
    wanted: Sequence[str],
    filtered: sql.Composable | None,
    *,
    unless: Sequence[sql.Composable],
    careful: bool,
) -> Cell:
    """The cell of a conversion; it is left alone where a condition of ``unless`` is met.

    With ``careful`` rows may not convert. To such a row a value is written as to any other, so that
    the pass keeps it aside with the reason; nothing else asks for the value there.
    """
    forms = _normal_forms(plan, derived)
    asked_of = plan.name if careful else None
    state = sql.SQL(
        "(SELECT s.state FROM (SELECT {} AS state) AS s WHERE s.state NOT IN ({}))"
    ).format(
        conversion_state(derived, forms, asked_of), sql.SQL(", ").join(map(sql.Literal, MATCHED))
    )
    category = _where(filtered, state)
    kinds = [c for c in wanted if c in OF_CONVERSIONS]
    if not kinds:
        return Cell(derived, category, ())
    condition = _is_one_of(
        category, kinds, *(sql.SQL("({}) IS NOT TRUE").format(other) for other in unless)
    )
    values = derived.values("t", forms)
    if careful and (derived.leaves_empty or derived.asks_people):
        values = careful_values(derived, plan.name, "t", forms, raising=derived.asks_people)
    writes = tuple(
        Write(
            column=column,
            condition=condition,
            value=value,
            category=category,
            legacy=texts_of(derived.reads),
            before=sql.Identifier("t", column),
            after=expected_text(derived, forms, asked_of, of=column),
        )
        for column, value in values.items()
    )
    return Cell(derived, category, writes)


def computed_cell(computed: Computed, jobs: Sequence[int], *, recomputed: bool) -> Cell:
    """The cell of computed columns. With ``recomputed`` existing values count as wrong.

    Rows in the quarantine of ``jobs`` are left: the function has no answer for them.
    """
    column = ", ".join(computed.columns)
    category = sql.SQL("CASE WHEN {} THEN 'missing' WHEN NOT {} THEN {}::text END").format(
        all_of([is_empty(computed), not_kept_aside(computed, jobs)]),
        is_empty(computed),
        sql.Literal("computed_differs" if recomputed else None),
    )
    write = Write(
        column=column,
        condition=sql.SQL("({} IS NOT NULL)").format(category),
        value=sql.SQL("NULL"),
        category=category,
        legacy=texts_of(computed.reads),
        before=texts_of(computed.columns),
        after=sql.SQL("NULL"),
    )
    return Cell(computed, category, (write,))


def is_empty(computed: Computed) -> sql.Composable:
    """SQL condition: a computed column of row ``t`` is null."""
    return sql.SQL("(num_nulls({}) > 0)").format(
        sql.SQL(", ").join(sql.Identifier("t", column) for column in computed.columns)
    )


def not_kept_aside(computed: Computed, jobs: Sequence[int]) -> sql.Composable:
    """SQL condition: row ``t`` is not in the quarantine of those jobs."""
    if not jobs:
        return sql.SQL("true")
    return sql.SQL(
        "({} NOT IN (SELECT q.key FROM rollout.quarantine AS q WHERE q.job = ANY ({})))"
    ).format(key_of(computed.table), sql.Literal(list(jobs)))


class _Pairs:
    """How a lookup's pairs of text and value differ, where its mapping is joined."""

    def __init__(self, plan: Plan, lookup: Lookup) -> None:
        self.plan = plan
        self.lookup = lookup
        self.mapping = in_target(lookup.mapping_name(plan.name))
        self.column = sql.Identifier("t", lookup.column)
        self.mapped = sql.Identifier(lookup.mapping_alias, "lookup_id")
        self._fill = {
            "column": self.column,
            "mapped": self.mapped,
            "normal": sql.Identifier(lookup.mapping_alias, "normal"),
            "why": sql.Identifier(lookup.mapping_alias, "why"),
            "ids": sql.SQL("SELECT l.id FROM {} AS l").format(lookup.lookup_sql),
            "idle": sql.SQL("SELECT l.id FROM {} AS l WHERE NOT l.active").format(
                lookup.lookup_sql
            ),
            "mapping": self.mapping,
        }

    def _sql(self, template: sql.SQL, **more: sql.Composable) -> sql.Composable:
        return template.format(**self._fill, **more)

    @property
    def no_value(self) -> sql.Composable:
        """SQL condition: the text becomes no row, by rule or by decision."""
        if self.lookup.blank is not None:
            return self._sql(sql.SQL("({why} = 'no_value') IS TRUE"))
        return self._sql(sql.SQL("({why} = 'no_value' OR {normal} = '') IS TRUE"))

    @property
    def ambiguous(self) -> sql.Composable:
        """SQL condition: another text of the same normal form leads to another row."""
        return self._sql(
            sql.SQL(
                "({normal} <> '' AND {normal} IN (SELECT a.normal FROM {mapping} AS a"
                " GROUP BY a.normal HAVING count(DISTINCT a.lookup_id) > 1)) IS TRUE"
            )
        )

    @property
    def known(self) -> sql.Composable:
        """SQL condition: the mapping says without doubt what the text becomes."""
        return self._sql(
            sql.SQL(
                "({mapped} IN ({ids}) OR ({mapped} IS NULL AND {no_value})) IS TRUE"
                " AND NOT {ambiguous}"
            ),
            no_value=self.no_value,
            ambiguous=self.ambiguous,
        )

    @property
    def category(self) -> sql.Composable:
        return self._sql(
            sql.SQL(
                "CASE WHEN {column} IS NOT NULL AND {column} NOT IN ({ids}) THEN 'orphan'"
                " WHEN {mapped} IS NULL AND NOT {no_value} THEN 'unmapped'"
                " WHEN {mapped} IS NULL AND {column} IS NOT NULL THEN 'unexpected'"
                " WHEN {mapped} IS NOT NULL AND {column} IS NULL THEN 'missing'"
                " WHEN {column} <> {mapped} THEN 'wrong'"
                " WHEN {ambiguous} THEN 'ambiguous'"
                " WHEN {column} IN ({idle}) THEN 'inactive' END"
            ),
            no_value=self.no_value,
            ambiguous=self.ambiguous,
        )

    def name_of(self, value: sql.Composable) -> sql.Composable:
        """SQL of a lookup row's name, for people."""
        return sql.SQL(
            "(SELECT coalesce((SELECT l.name FROM {lookup} AS l WHERE l.id = {value}),"
            " '#' || {value} || ' (no such row)'))"
        ).format(lookup=self.lookup.lookup_sql, value=value)

    @property
    def text_of_row(self) -> sql.Composable:
        """SQL of the legacy text that the new value is written as."""
        return sql.SQL("(SELECT {} FROM (SELECT) AS this LEFT JOIN {} AS l ON l.id = {})").format(
            text_of_row(self.lookup, self.plan.name, "l"), self.lookup.lookup_sql, self.column
        )

    @property
    def name_means_its_row(self) -> sql.Composable:
        """SQL condition: every reader of the written text understands the same row."""
        return self._sql(
            sql.SQL(
                "({column} IN ({idle})) IS NOT TRUE AND NOT EXISTS (SELECT FROM {mapping} AS o"
                " WHERE o.normal = {text} AND o.lookup_id IS DISTINCT FROM {column})"
            ),
            text=normal(sql.SQL("coalesce({}, '')").format(self.text_of_row)),
        )


def _is_one_of(
    category: sql.Composable, kinds: Sequence[str], *conditions: sql.Composable
) -> sql.Composable:
    is_one = sql.SQL("({} IN ({})) IS TRUE").format(
        category, sql.SQL(", ").join(map(sql.Literal, kinds))
    )
    return all_of([is_one, *conditions])


def all_of(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(" AND ").join(conditions))


def any_of(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(" OR ").join(conditions))


def _where(filtered: sql.Composable | None, category: sql.Composable) -> sql.Composable:
    if filtered is None:
        return category
    return sql.SQL("CASE WHEN {} THEN {} END").format(filtered, category)


def _normal_forms(plan: Plan, derived: Conversion) -> dict[str, sql.Composable]:
    """The mapping has a text's normal form at hand; a text that is new there is worked out."""
    forms: dict[str, sql.Composable] = {}
    for lookup in plan.lookups_of(derived.table):
        form = sql.Identifier(lookup.mapping_alias, "normal")
        forms[lookup.legacy] = sql.SQL("coalesce({}, {})").format(
            form, normal(lookup.legacy_text("t"))
        )
    return forms
