"""The scan of one table: all its translations at once, grouped, so that no row needs a join.

``GROUP BY`` all legacy and new values gives the distinct combinations with their counts; those are
few, and classifying them accounts for every row.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from rollout.engine.audit.categories import CATEGORIES, Cell, TranslationResult, worst
from rollout.engine.audit.lookup_pairs import LookupPairs
from rollout.engine.audit.states import archived_state, conversion_state, expected_text
from rollout.engine.quarantine import key_of
from rollout.engine.target import Connection, fetch_bool
from rollout.plan import facts
from rollout.plan.archived_values import kept_of
from rollout.plan.archives import joins_of_texts
from rollout.plan.conversions import Conversion
from rollout.plan.names import identifier, in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.refusals import refusal_name
from rollout.plan.table import Table
from rollout.plan.translations import Computed, Lookup
from rollout.plan.updates import left_joins

Combination = tuple[Any, ...]


@dataclass(frozen=True)
class Question:
    """A conversion or computed translation, and the SQL of a row's category in it."""

    translation: Conversion | Computed
    state: sql.Composable

    @property
    def column(self) -> str:
        """The name under which pages show it."""
        return ", ".join(self.translation.added)


class TableScan:
    """Everything that is asked of one table."""

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        table: Table,
        columns: set[str],
        jobs: Sequence[int] = (),
        *,
        refusing: bool = False,
    ) -> None:
        """``refusing`` finds out which rows an expression refuses; each row then costs more."""
        self.plan, self.table = plan, table
        # Where a value's length alone makes it one that does not convert, no error tells it.
        careful = refusing or any(t.cuts for t in plan.conversions_of(table))
        self._refusing = _refusing(connection, plan, table) if careful else set()
        self.columns, self.jobs = columns, jobs
        self.lookups = [
            LookupPairs(connection, plan, lookup, archived=lookup.legacy not in columns)
            for lookup in plan.lookups_of(table)
        ]
        self.grouped = list(dict.fromkeys(c for pairs in self.lookups for c in pairs.columns))
        derived = [t for t in plan.conversions_of(table) if columns.issuperset(t.reads)]
        # Of what is gone only an archive tells.
        self.archived = [t for t in plan.conversions_of(table) if t.drops and t not in derived]
        # An expression over grouped columns alone is worked out for each group, not for each row.
        self.of_groups = [
            Question(t, self._state(t)) for t in derived if set(t.reads) <= set(self.grouped)
        ]
        of_groups = [question.translation for question in self.of_groups]
        self.of_rows = [
            Question(t, self._state(t, self.normal_forms)) for t in derived if t not in of_groups
        ] + [Question(t, computed_state(t, jobs)) for t in plan.computed_of(table)]
        self.of_rows += [Question(t, sql.Identifier("t", _archived(t))) for t in self.archived]
        added = [column for question in self.of_groups for column in question.translation.added]
        self.grouped += [column for column in added if column not in self.grouped]

    def _state(
        self, conversion: Conversion, normal_forms: dict[str, sql.Composable] | None = None
    ) -> sql.Composable:
        return conversion_state(conversion, normal_forms, self._plan_of(conversion))

    def expected_text(self, conversion: Conversion) -> sql.Composable:
        """SQL of what the new columns are to hold, as people read it; why they cannot, in words."""
        return expected_text(conversion, self.normal_forms, self._plan_of(conversion))

    def _plan_of(self, conversion: Conversion) -> str | None:
        """The plan's name for a conversion of which it is asked which rows it refuses."""
        return self.plan.name if conversion.name in self._refusing else None

    @property
    def normal_forms(self) -> dict[str, sql.Composable]:
        """Where the normal form of a legacy column is at hand: in its mapping, for almost all."""
        return {
            pairs.lookup.legacy: sql.SQL("coalesce({}, {})").format(
                sql.Identifier(pairs.lookup.mapping_alias, "normal"),
                normal(pairs.lookup.legacy_text("t")),
            )
            for pairs in self.lookups
            if not pairs.archived
        }

    def source(self, relation: sql.Composable | None = None) -> sql.Composed:
        """The rows ``t`` of the table, or of a part of it, with the legacy text from the archive
        where its column is gone: as the way back would restore it. Of a conversion its state.
        """
        relation = relation or self.table.identifier
        archived = {pairs.lookup.legacy for pairs in self.lookups if pairs.archived}
        if not archived and not self.archived:
            return sql.SQL("{} AS t").format(relation)
        known = [
            sql.SQL("{} AS {}").format(kept.text_again(column), sql.Identifier(column))
            for kept in kept_of(self.plan, self.table)
            for column in kept.legacy
            if column in archived
        ] + [
            sql.SQL("{} AS {}").format(archived_state(t), sql.Identifier(_archived(t)))
            for t in self.archived
        ]
        return sql.SQL("(SELECT t.ctid, t.*, {} FROM {} AS t{}) AS t").format(
            sql.SQL(", ").join(known),
            relation,
            left_joins(*joins_of_texts(self.plan, self.table)),
        )

    @property
    def joins(self) -> sql.Composable:
        """The mappings whose normal forms the expressions over rows read."""
        return self._joins_for(
            {
                column
                for question in self.of_rows
                if isinstance(question.translation, Conversion)
                for column in question.translation.reads
            }
        )

    @property
    def all_joins(self) -> sql.Composable:
        """Every mapping of the table."""
        return self._joins_for({pairs.lookup.legacy for pairs in self.lookups})

    def _joins_for(self, read: set[str]) -> sql.Composable:
        return sql.SQL("").join(
            sql.SQL(" LEFT JOIN {} AS {} ON {} = {}").format(
                in_target(pairs.lookup.mapping_name(self.plan.name)),
                sql.Identifier(pairs.lookup.mapping_alias),
                sql.Identifier(pairs.lookup.mapping_alias, "legacy"),
                pairs.lookup.legacy_text("t"),
            )
            for pairs in self.lookups
            if not pairs.archived and pairs.lookup.legacy in read
        )

    def query(
        self, condition: sql.Composable, relation: sql.Composable | None = None
    ) -> sql.Composed:
        """Combinations of values with the states of the questions and their number of rows.

        Of the whole table, or of ``relation``, a partition of it.
        """
        states = [sql.Identifier(f"state {n}") for n in range(len(self.of_rows))]
        inner = sql.SQL("SELECT {} FROM {}{} WHERE {}{}").format(
            sql.SQL(", ").join(
                [
                    *(sql.Identifier("t", column) for column in self.grouped),
                    *(
                        sql.SQL("{} AS {}").format(question.state, state)
                        for question, state in zip(self.of_rows, states, strict=True)
                    ),
                    sql.SQL('count(*) AS "how many"'),
                ]
            ),
            self.source(relation),
            self.joins,
            condition,
            sql.SQL(" GROUP BY {}").format(
                sql.SQL(", ").join(
                    sql.Literal(n + 1) for n in range(len(self.grouped) + len(states))
                )
            )
            if self.grouped or states
            else sql.SQL(""),
        )
        return sql.SQL("SELECT {} FROM ({}) AS t").format(
            sql.SQL(", ").join(
                [
                    *(sql.Identifier("t", column) for column in self.grouped),
                    *(question.state for question in self.of_groups),
                    *(sql.Identifier("t", f"state {n}") for n in range(len(states))),
                    sql.Identifier("t", "how many"),
                ]
            ),
            inner,
        )

    def classified(self, values: Combination) -> list[tuple[str | None, str | None, str]]:
        """Legacy value, new value and category in each translation, lookups first."""
        row = dict(zip(self.grouped, values, strict=False))
        classes = []
        for pairs in self.lookups:
            legacy, new = pairs.values(row)
            classes.append((legacy, pairs.new_name(new), pairs.classify(legacy, new)))
        states = values[len(self.grouped) : len(self.grouped) + len(self.questions)]
        classes += [(None, None, state) for state in states]
        return classes

    @property
    def questions(self) -> list[Question]:
        return [*self.of_groups, *self.of_rows]

    def results(
        self, combinations: Counter[Combination]
    ) -> tuple[Counter[str], list[TranslationResult]]:
        """Rows by their worst category, and each translation's crosstab."""
        per_row: Counter[str] = Counter()
        cells: list[Counter[tuple[str | None, str | None, str]]] = [
            Counter() for _ in (*self.lookups, *self.questions)
        ]
        for values, rows in combinations.items():
            classes = self.classified(values)
            for counted, cell in zip(cells, classes, strict=True):
                counted[cell] += rows
            per_row[worst([category for _, _, category in classes])] += rows
        translations = [
            *(self._of_lookup(pairs.lookup) for pairs in self.lookups),
            *(self._of_question(question) for question in self.questions),
        ]
        for translation, counted in zip(translations, cells, strict=True):
            translation.cells = sorted_cells(Cell(*pair, rows) for pair, rows in counted.items())
        return per_row, translations

    def _of_lookup(self, lookup: Lookup) -> TranslationResult:
        return TranslationResult(
            self.table.label, lookup.column, lookup.legacy, lookup.lookup_label, []
        )

    def _of_question(self, question: Question) -> TranslationResult:
        return TranslationResult(
            self.table.label, question.column, ", ".join(question.translation.reads), "", []
        )


def _archived(conversion: Conversion) -> str:
    """The name of the column with a row's state in a conversion whose legacy columns are gone."""
    return identifier("state", *conversion.added)


def _refusing(connection: Connection, plan: Plan, table: Table) -> set[str]:
    """The names of the conversions whose functions say why a row has no value."""
    return {
        t.name
        for t in plan.conversions_of(table)
        if fetch_bool(connection, facts.function_exists(refusal_name(t, plan.name)))
    }


def sorted_cells(cells: Iterable[Cell]) -> list[Cell]:
    """The worst category first, in it the cell with most rows, then by their texts."""

    def place(cell: Cell) -> tuple[Any, ...]:
        texts = [(text is not None, text or "") for text in (cell.legacy, cell.new)]
        return -CATEGORIES.index(cell.category), -cell.rows, *texts

    return sorted(cells, key=place)


def computed_state(translation: Computed, jobs: Sequence[int]) -> sql.Composable:
    """A full scan can see that a value is there; whether it is right a sample tells.

    ``jobs`` are those whose quarantine has the rows that the function has no answer for.
    """
    absent = sql.SQL("({})").format(
        sql.SQL(" OR ").join(
            sql.SQL("{} IS NULL").format(sql.Identifier("t", column))
            for column in translation.columns
        )
    )
    kept_aside: sql.Composable = sql.SQL("")
    if jobs:
        kept_aside = sql.SQL(
            " WHEN {absent} AND {key} IN (SELECT key FROM rollout.quarantine"
            " WHERE job = ANY ({jobs})) THEN 'quarantined'"
        ).format(absent=absent, key=key_of(translation.table), jobs=sql.Literal(list(jobs)))
    return sql.SQL("CASE{} WHEN {} THEN 'missing' ELSE 'ok' END").format(kept_aside, absent)
