"""The audit's test of itself: rows of every category are planted, and audits must find them all.

Everything happens in a scratch database that holds a copy of some rows and is dropped afterwards;
of the live database only a snapshot is read. The SQL that audits is the one that always audits, and
writers write to the same tables meanwhile.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import psycopg
from psycopg import sql

from rollout.engine.audit import CATEGORIES, AuditResult, RowMismatch, Sample, run_audit
from rollout.engine.audit.random_samples import Function, population, sampled
from rollout.engine.audit.rows import is_one_of
from rollout.engine.audit.scan import TableScan
from rollout.engine.kept_names import with_names_of_now
from rollout.engine.quarantine import key_of
from rollout.engine.selftest.defects import QUARANTINE_JOB, Defect, PlantedDefects, plant
from rollout.engine.selftest.fixture_databases import (
    SelftestUndecided,
    build,
    columns_of,
    fill,
    needed_of,
    scratch_database,
)
from rollout.engine.selftest.writers import writing
from rollout.engine.snapshot.programs import Programs
from rollout.engine.target import Connection, Target
from rollout.plan.conversions import Convert, Derived
from rollout.plan.extractions import Extract
from rollout.plan.plan import Plan
from rollout.plan.table import Table
from rollout.plan.translations import Computed, Lookup, Translation
from rollout.plan.wide_columns import WideColumn

__all__ = ["Score", "SelftestResult", "SelftestUndecided", "run_selftest"]

ROWS, WRITERS = 2_000, 2
RECHECK_SECONDS = 0.2
# Table, key and column.
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Score:
    """An audit's score in one category: rows planted, rows found, false alarms."""

    category: str
    planted: int
    found: int
    false_alarms: int

    @property
    def recall(self) -> float | None:
        return self.found / self.planted if self.planted else None


@dataclass
class SelftestResult:
    """What came of it. ``writes`` counts the transactions committed beside the audits.

    ``sample`` scores the planted rows that the sample looked at; ``sample_planted`` are all that
    it could have found had it looked at every row.
    """

    full: list[Score] = field(default_factory=list)
    sample: list[Score] = field(default_factory=list)
    sample_planted: int = 0
    sample_rows: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    writes: int = 0
    seconds: float = 0.0
    full_rows: int = 0

    @property
    def passed(self) -> bool:
        scores = [*self.full, *self.sample]
        return all(s.found == s.planted and not s.false_alarms for s in scores)


def run_selftest(
    live: Target,
    plan: Plan,
    *,
    function_of: Callable[[str], Function],
    rows: int = ROWS,
    seed: int = 1,
    writers: int = WRITERS,
    programs: Programs | None = None,
) -> SelftestResult:
    """Copy up to ``rows`` rows of each table, plant, audit in full and by sample, and score.

    With ``programs`` the types and functions of the database are in the copy too.
    Raises SelftestUndecided where it could not be made, and psycopg.Error.
    """
    began = time.monotonic()
    with live.connect() as connection, scratch_database(connection, live) as scratch:
        # A wide key has its name in every phase, and rows of the copy are found by it.
        is_wide = any(isinstance(t, WideColumn) for t in plan.translations)
        named = plan if is_wide else with_names_of_now(connection, plan)
        plan, result = _for_the_copy(named), SelftestResult()
        with scratch.connect() as copy:
            build(copy, plan, needed_of(live, plan, programs))
            result.rows = fill(connection, copy, plan, function_of, rows=rows)
            plantation = plant(copy, plan, seed)
            if not plantation.planted:
                raise SelftestUndecided(
                    "No rows to copy; nothing planted. Run it in an environment with rows."
                )
            result.left_out = plantation.left_out
            with writing(scratch, plan, plantation.untouched, writers=writers, seed=seed) as writes:
                _audit_in_full(scratch, copy, plan, plantation, result)
                _audit_a_sample(scratch, copy, plan, plantation, result, function_of, seed)
                result.writes = writes.count
        result.seconds = time.monotonic() - began
        return result


def _for_the_copy(plan: Plan) -> Plan:
    """The plan, in which any text can be planted and none of a row is left to people to decide."""
    tables = {table: _with_texts(plan, table) for table in plan.tables}
    return replace(
        plan,
        tables=tuple(tables.values()),
        translations=tuple(_over(t, tables[t.table]) for t in plan.translations),
    )


def _over(translation: Translation, table: Table) -> Translation:
    if isinstance(translation, Lookup):
        return replace(translation, table=table, unknown="create")
    if isinstance(translation, Extract) and translation.is_reviewed:
        return replace(translation, table=table, conflicts="most_frequent")
    assert isinstance(translation, Derived | Convert | Extract | Computed)
    return replace(translation, table=table)


def _with_texts(plan: Plan, table: Table) -> Table:
    """The table, whose legacy columns of lookups take any text: an enum or a domain would not."""
    texts = {
        lookup.legacy: replace(lookup.of_legacy, type="text") for lookup in plan.lookups_of(table)
    }
    return replace(table, columns={**table.columns, **texts})


def _audit_in_full(
    scratch: Target,
    copy: Connection,
    plan: Plan,
    plantation: PlantedDefects,
    result: SelftestResult,
) -> None:
    healed = False

    def progress(done: int, total: int) -> None:
        # The snapshot has been read by then, so what heals now is right when it is read again.
        nonlocal healed
        if done >= total and not healed:
            healed = True
            if plantation.heal.as_string():
                copy.execute(plantation.heal)

    with scratch.connect() as connection:
        audit = run_audit(
            connection,
            plan,
            jobs_of=lambda label: [QUARANTINE_JOB],
            progress=progress,
            recheck_after=RECHECK_SECONDS,
        )
    _refuse_inconclusive(audit)
    result.full_rows = audit.rows
    expected = [defect for defect in plantation.planted if not defect.by_sample_alone]
    result.full = _scores(expected, audit, matches=True)


def _audit_a_sample(
    scratch: Target,
    copy: Connection,
    plan: Plan,
    plantation: PlantedDefects,
    result: SelftestResult,
    function_of: Callable[[str], Function],
    seed: int,
) -> None:
    sample = Sample(rows=max(1, max(result.rows.values()) // 4), seed=seed)
    with scratch.connect() as connection:
        audit = run_audit(
            connection,
            plan,
            sample=sample,
            function_of=function_of,
            jobs_of=lambda label: [QUARANTINE_JOB],
            recheck_after=RECHECK_SECONDS,
        )
    _refuse_inconclusive(audit)
    bad = [defect for defect in plantation.planted if defect.is_mismatch]
    examined = _examined(copy, plan, sample, bad)
    result.sample = _scores(examined, audit, matches=False)
    result.sample_planted, result.sample_rows = len(bad), audit.rows


def _examined(copy: Connection, plan: Plan, sample: Sample, planted: list[Defect]) -> list[Defect]:
    """The planted rows that a sample reads; writers leave the keys as they are."""
    examined: set[tuple[str, tuple[str, ...]]] = set()
    for table in plan.audited_tables:
        keys = [list(defect.key) for defect in planted if defect.table == table.label]
        if not keys:
            continue
        scan = TableScan(copy, plan, table, set(columns_of(plan, table)))
        condition = sampled(copy, scan, sample, population(copy, scan))
        query = sql.SQL("SELECT {} FROM {} AS t WHERE {} AND {}").format(
            key_of(table), table.identifier, condition, is_one_of(scan, keys)
        )
        examined |= {(table.label, tuple(key)) for (key,) in copy.execute(query)}
    return [defect for defect in planted if (defect.table, defect.key) in examined]


def _scores(planted: list[Defect], audit: AuditResult, *, matches: bool) -> list[Score]:
    """Each category's score; of those that match, rows are counted by their text alone."""
    wanted = {(p.table, ",".join(p.key), p.column): p.category for p in planted if p.is_mismatch}
    reported = {_place(m): m.category for m in audit.mismatches}
    counts = Counter(p.category for p in planted)
    hits = Counter(
        category for place, category in wanted.items() if reported.get(place) == category
    )
    false = Counter(
        category for place, category in reported.items() if wanted.get(place) != category
    )
    if matches:
        hits += _matched(planted, audit)
    return [
        Score(category, counts[category], hits[category], false[category])
        for category in CATEGORIES
        if counts[category] or false[category]
    ]


def _matched(planted: Iterable[Defect], audit: AuditResult) -> Counter[str]:
    """Defect rows that match and were counted as what they are."""
    groups = Counter(
        (p.table, p.column, p.category, p.legacy) for p in planted if not p.is_mismatch
    )
    hits: Counter[str] = Counter()
    for (table, column, category, legacy), rows in groups.items():
        counted = sum(
            cell.rows
            for translation in audit.translations
            if (translation.table, translation.column) == (table, column)
            for cell in translation.cells
            if cell.category == category and legacy in (None, cell.legacy)
        )
        hits[category] += min(rows, counted)
    return hits


def _place(mismatch: RowMismatch) -> Place:
    return mismatch.table, mismatch.key, mismatch.column


def _refuse_inconclusive(audit: AuditResult) -> None:
    if audit.inconclusive:
        raise SelftestUndecided(audit.inconclusive)
    if not audit.all_stored:
        raise psycopg.DataError("More rows mismatch than were planted and stored.")
