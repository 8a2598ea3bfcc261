"""A repair's one step, and the counts before and after it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rollout import gates, queue
from rollout.engine.control import Control
from rollout.engine.kept_names import with_names_of_now
from rollout.engine.repair import (
    Example,
    NothingSelected,
    RepairDirection,
    RepairPlan,
    Selection,
    count,
    examples,
)
from rollout.engine.repair import step_of as passes_of
from rollout.engine.repair.counts import MAX_EXAMPLES
from rollout.engine.target import Connection
from rollout.journal import activity_log
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.labels import category_label
from rollout.journal.rollouts import plan_of
from rollout.models import (
    BackfillJob,
    Direction,
    MappingChange,
    PhaseRun,
    Repair,
    Rollout,
)
from rollout.plan.plan import Plan, Step
from rollout.plan.table import Table
from rollout.queries.modes import modes_of
from rollout.worker import audits
from rollout.worker.quarantines import release_right


@dataclass(frozen=True)
class Selected:
    """What is selected in all tables, with examples."""

    categories: dict[str, int]
    writable: int
    cells: list[dict[str, Any]]
    examples: list[Example]

    @property
    def rows(self) -> int:
        return sum(self.categories.values())


def count_categories(
    connection: Connection, repairings: Sequence[RepairPlan], *, before: bool = True
) -> Selected:
    """Raises psycopg.Error."""
    categories: Counter[str] = Counter()
    cells: list[dict[str, Any]] = []
    shown: list[Example] = []
    writable = 0
    for repairing in repairings:
        counted = count(connection, repairing, before=before)
        categories.update(counted.categories)
        writable += counted.writable
        cells += [
            {
                "table": repairing.table.label,
                "column": column,
                "category": category,
                "rows": rows,
            }
            for (column, category), rows in counted.cells.items()
        ]
        if before and counted.writable:
            shown += examples(connection, repairing)
    return Selected(dict(categories), writable, cells, shown[:MAX_EXAMPLES])


def tables_named(plan: Plan, label: str, selection: dict[str, Any]) -> list[Table]:
    """Raises NothingSelected."""
    if label:
        return [table_named(plan, label)]
    of_one = [name for name in ("columns", "legacy", "keys") if selection.get(name)]
    if of_one:
        raise NothingSelected(f"Name the table of the {', '.join(of_one)}.")
    return list(plan.backfilled_tables)


def table_named(plan: Plan, label: str) -> Table:
    """Raises NothingSelected."""
    for table in plan.backfilled_tables:
        if table.label == label:
            return table
    known = ", ".join(table.label for table in plan.backfilled_tables)
    raise NothingSelected(f"The plan backfills no table {label}. Backfilled tables: {known}.")


def direction_of(rollout: Rollout, change: MappingChange | None) -> RepairDirection:
    """Rows follow a review's decisions; without one, after the cutover, the new values lead."""
    modes = modes_of(rollout.plan, rollout.environment)
    return "reverse" if modes.write == "new" and change is None else "forward"


def computing_jobs(rollout: Rollout, table: Table, *, before: PhaseRun | None = None) -> list[int]:
    """The jobs whose quarantine has rows for which a function has no value."""
    jobs = BackfillJob.objects.filter(
        step_run__run__rollout=rollout, table=table.label, kind="compute"
    )
    if before is not None:
        # What the run itself puts aside it tries again when it is retried.
        jobs = jobs.filter(step_run__run__lt=before)
    return list(jobs.values_list("pk", flat=True))


def _repairings(run: PhaseRun) -> list[RepairPlan]:
    """One for each of its tables."""
    plan, wanted = plan_of(run.rollout), run.repair
    if plan.tables_keeping_names:
        with target_of(run.rollout.environment).connect_briefly() as connection:
            plan = with_names_of_now(connection, plan)
    direction = direction_of(run.rollout, wanted.change)
    return [
        RepairPlan(
            plan,
            table,
            Selection.of(wanted.selection),
            direction=direction,
            jobs=computing_jobs(run.rollout, table, before=run),
        )
        for table in tables_named(plan, wanted.table, wanted.selection)
    ]


def with_rows(
    repairings: Iterable[RepairPlan], cells: Iterable[dict[str, Any]]
) -> list[RepairPlan]:
    """Those of tables that have a selected row, as counted; all of them where none was counted."""
    tables = {cell["table"] for cell in cells}
    return [r for r in repairings if not tables or r.table.label in tables]


def step_of(run: PhaseRun) -> Step:
    """The one step of a repair, once its rows are counted."""
    return passes_of(with_rows(_repairings(run), run.repair.cells))


def count_before(run: PhaseRun, connection: Connection, control: Control) -> None:
    """Count the selected rows before any is written, if the page could not wait for it."""
    wanted = run.repair
    if wanted.before or run.steps.exists():
        return
    control.attach(connection)
    counted = count_categories(connection, _repairings(run))
    wanted.before, wanted.rows_expected = counted.categories, counted.writable
    wanted.cells = counted.cells
    wanted.examples = [asdict(example) for example in counted.examples]
    wanted.save(update_fields=["before", "rows_expected", "cells", "examples"])
    activity_log.record(
        Event.REPAIR_COUNTED,
        f"Counted the rows to repair in {wanted.tables}: {counts_sentence(wanted)}.",
        on=run,
        actor=activity_log.attempted_by(run),
        source="worker",
        rows=wanted.rows_expected,
        before=wanted.before,
        cells=wanted.cells,
        examples=wanted.examples,
    )


def count_after(run: PhaseRun, connection: Connection, control: Control) -> None:
    """Count the remaining and the written rows. Idempotent."""
    control.attach(connection)
    connection.execute("SET statement_timeout = 0")
    wanted = run.repair
    wanted.after = count_categories(connection, _repairings(run), before=False).categories
    jobs = [job for step in run.steps.all() for job in step.jobs.exclude(kind="clear")]
    wanted.rows_repaired = sum(job.written for job in jobs)
    wanted.save(update_fields=["after", "rows_repaired"])
    _release(run, connection)


def _release(run: PhaseRun, connection: Connection) -> None:
    """Take the rows that are right by now out of the quarantine of the fills that refused them."""
    newest = gates.newest_runs(run.rollout).values()
    forward = [phase for phase in newest if phase.direction == Direction.FORWARD]
    fills = BackfillJob.objects.filter(step_run__run__in=forward, kind="fill", quarantined__gt=0)
    for repairing in _repairings(run):
        for job in fills.filter(table=repairing.table.label):
            release_right(connection, repairing.whole, job)


def record_end(run: PhaseRun) -> None:
    """Record what a repair did, and request the audit that shows it."""
    wanted = run.repair
    rows = wanted.rows_repaired or 0
    activity_log.record(
        Event.REPAIR_DONE,
        f"Repaired {rows:,} row{'' if rows == 1 else 's'} of {wanted.tables}. Before: "
        f"{_words(wanted.before)}. After: {_words(wanted.after)}.",
        on=run,
        actor=activity_log.attempted_by(run),
        source="worker",
        rows=wanted.rows_repaired,
        before=wanted.before,
        after=wanted.after,
    )
    by = activity_log.attempted_by(run)
    report = audits.asked_for(run.rollout, actor_name=by, source="worker")
    queue.send_work(report)


def counts_sentence(wanted: Repair) -> str:
    if not wanted.before:
        return "rows are counted first"
    cells = "; ".join(
        f"{cell['column']}: {_label(cell['category'])} {cell['rows']:,}" for cell in wanted.cells
    )
    rows = wanted.rows_expected
    return f"{rows:,} row{'' if rows == 1 else 's'} to repair ({_words(wanted.before)}; {cells})"


def _words(categories: dict[str, int]) -> str:
    counts = sorted(categories.items(), key=lambda item: -item[1])
    return ", ".join(f"{_label(category)} {rows:,}" for category, rows in counts) or "none"


def _label(category: str) -> str:
    return category_label(category).lower()
