"""Repairs of rows that an audit found wrong, or whose mapping a review changed.

A repair is a run of its own, with the lease, states and jobs of every run; it changes no phase's
state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from psycopg import errors

from rollout import gates, queue
from rollout.engine.kept_names import with_names_of_now
from rollout.engine.repair import (
    OF_CONVERSIONS,
    Example,
    NothingSelected,
    RepairPlan,
    Selection,
    refusal_to_repair,
)
from rollout.engine.target import Connection, TargetAway
from rollout.gates.starts import refusal_beside_rollback
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.rollouts import active_run, alone_with, is_busy, plan_of, refuse_out_of_reach
from rollout.models import (
    AuditReport,
    Direction,
    MappingChange,
    PhaseRun,
    Repair,
    Rollout,
)
from rollout.plan.plan import BACKFILL, CONTRACT
from rollout.plan.registry import UnknownPlan
from rollout.telemetry.baselines import inherited_baseline
from rollout.worker import leases
from rollout.worker.repairs import (
    computing_jobs,
    count_categories,
    counts_sentence,
    direction_of,
    table_named,
    tables_named,
    with_rows,
)

# A page waits no longer for a count; the run then counts itself.
PREVIEW_SECONDS = 20
_KEYS_LOGGED = 20


@dataclass(frozen=True)
class RepairPreview:
    """What a repair would do. ``before`` holds the selected rows by their worst category, ``cells``
    the same by column, as in ``rollout.models.Repair``.

    ``rows`` of them would be written and ``left`` would not, for which ``advice`` says why.
    ``refusal`` says why it cannot be started; ``uncounted`` why the numbers are not known.
    """

    rows: int = 0
    before: dict[str, int] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    sql: str = ""
    refusal: str = ""
    left: int = 0
    advice: str = ""
    uncounted: str = ""


def preview_repair(
    rollout: Rollout,
    table_label: str,
    selection: dict[str, Any],
    *,
    change: MappingChange | None = None,
) -> RepairPreview:
    """What a repair of those rows would do now; nothing is changed.

    Without a label it is about every table that the plan fills.
    """
    try:
        plan = plan_of(rollout)
        refusal = _refusal_to_start(rollout)
        if refusal:
            return RepairPreview(refusal=refusal)
        with target_of(rollout.environment).connect() as connection:
            plan = with_names_of_now(connection, plan)
            tables = tables_named(plan, table_label, selection)
            for table in tables:
                refusal = refusal_to_repair(connection, plan, table)
                if refusal:
                    return RepairPreview(refusal=refusal)
            chosen = Selection.of(selection)
            direction = direction_of(rollout, change)
            return _preview(
                connection,
                [
                    RepairPlan(
                        *(plan, table, chosen),
                        direction=direction,
                        jobs=computing_jobs(rollout, table),
                    )
                    for table in tables
                ],
            )
    except (NothingSelected, UnknownPlan, TargetAway) as problem:
        return RepairPreview(refusal=str(problem))
    except errors.DataError as error:
        return RepairPreview(
            refusal=f"Invalid key for {table_label}: {error.diag.message_primary}. Copy keys from "
            "an audit report."
        )


def _preview(connection: Connection, repairings: Sequence[RepairPlan]) -> RepairPreview:
    refusals = [repairing.refusal for repairing in repairings]
    refusal = "" if "" in refusals else refusals[0]
    sql = _sql_of(repairings)
    connection.execute(f"SET statement_timeout = '{PREVIEW_SECONDS}s'".encode())
    connection.execute("SET default_transaction_read_only = on")
    try:
        counted = count_categories(connection, repairings)
    except errors.QueryCanceled:
        return RepairPreview(
            sql=sql,
            refusal=refusal,
            uncounted=f"Counting the rows took longer than {PREVIEW_SECONDS} s. The repair counts "
            "them when it starts.",
        )
    sql = _sql_of(with_rows(repairings, counted.cells))
    left = counted.rows - counted.writable
    advice = ""
    if left:
        advice = RepairPlan.advice(counted.categories) or (
            "Some values have no unambiguous mapping. Review the mapping first."
        )
    if not counted.rows:
        refusal = (
            "No rows match the selection any more: there is nothing to repair. Start a new audit."
        )
    elif not counted.writable:
        refusal = refusal or advice
    else:
        refusal = ""
    return RepairPreview(
        rows=counted.writable,
        before=counted.categories,
        cells=counted.cells,
        examples=counted.examples,
        sql=sql,
        refusal=refusal,
        left=left,
        advice=advice,
    )


def _sql_of(repairings: Iterable[RepairPlan]) -> str:
    return ";\n\n".join(repairing.text for repairing in repairings if repairing.text)


def repair(
    rollout: Rollout,
    *,
    table: str = "",
    selection: dict[str, Any],
    report: AuditReport | None = None,
    change: MappingChange | None = None,
    actor: Actor,
    source: str = "web",
) -> PhaseRun:
    """Start a repair of the selected rows of a table, or of every table. Raises Refused."""
    preview = preview_repair(rollout, table, selection, change=change)
    if preview.refusal:
        raise Refused(preview.refusal)
    plan = plan_of(rollout)
    with alone_with(rollout):
        reason = _refusal_to_start(rollout)
        if reason:
            raise Refused(reason)
        run = PhaseRun.objects.create(
            rollout=rollout,
            phase=_newest_phase(gates.newest_runs(rollout)),
            direction=Direction.REPAIR,
            actor=actor if isinstance(actor, get_user_model()) else None,
            actor_name=actor.get_username(),
            plan_digest=plan.digest,
            lease_until=leases.grace(),
            baseline=inherited_baseline(rollout),
        )
        wanted = Repair.objects.create(
            run=run,
            report=report,
            change=change,
            table=table,
            selection=Selection.of(selection).as_json,
            rows_expected=preview.rows,
            before=preview.before,
            cells=preview.cells,
            examples=[asdict(example) for example in preview.examples],
        )
        activity_log.record(
            Event.REPAIR_STARTED,
            f"Started a repair of {wanted.tables}{_because(wanted)}: {counts_sentence(wanted)}.",
            on=run,
            actor=run.actor_name,
            source=source,
            selection=_for_the_log(wanted.selection),
            rows=wanted.rows_expected,
            before=wanted.before,
            cells=wanted.cells,
            examples=wanted.examples,
            plan_digest=plan.digest,
        )
        queue.send_work(run)
    return run


def preview_correction(change: MappingChange) -> RepairPreview:
    """What ``correct`` would do now."""
    try:
        selection = _selection_of(change)
    except UnknownPlan as problem:
        return RepairPreview(refusal=str(problem))
    return preview_repair(change.rollout, change.table, selection, change=change)


def correct(change: MappingChange, *, actor: Actor, source: str = "web") -> PhaseRun:
    """Update the rows whose mapping a review changed. Raises Refused."""
    refuse_out_of_reach(change.rollout)
    return repair(
        change.rollout,
        table=change.table,
        selection=_selection_of(change),
        change=change,
        actor=actor,
        source=source,
    )


def _selection_of(change: MappingChange) -> dict[str, Any]:
    plan = plan_of(change.rollout)
    table = table_named(plan, change.table)
    lookups = plan.lookups_of(table)
    if not any(x.legacy == change.legacy_column for x in lookups):
        # Values that do not convert: rows follow by what they hold, whatever their text.
        decided = [t for t in plan.conversions_of(table) if t.asks_people]
        columns = [t.name for t in decided if ", ".join(t.reads) == change.legacy_column]
        return {"columns": columns, "categories": list(OF_CONVERSIONS)}
    return {
        "columns": [x.column for x in lookups if x.legacy == change.legacy_column],
        "legacy": [value["legacy"] for value in change.changes if value["moved"]],
    }


def _newest_phase(runs: dict[int, PhaseRun]) -> int:
    """The newest phase that was started; -1 if none was."""
    begun = [number for number, run in runs.items() if not gates.is_not_started(run)]
    return max(begun, default=-1)


def _refusal_to_start(rollout: Rollout) -> str:
    """Why no repair can start now, and what to do about it; empty if one can."""
    active = active_run(rollout)
    if active is not None:
        return is_busy(active)
    runs = gates.newest_runs(rollout)
    phase = _newest_phase(runs)
    if phase < BACKFILL:
        return "The backfill has not run yet. Start phase 2 first."
    if reason := refusal_beside_rollback(phase, runs[phase]):
        return reason
    if phase >= CONTRACT:
        return (
            f"Phase {phase} has started and legacy values are archived. Roll it back to repair "
            "rows."
        )
    return ""


def _because(wanted: Repair) -> str:
    if wanted.change is not None:
        return f" after {wanted.change.reviewer}'s review of {wanted.change.legacy_column}"
    return f" after audit {wanted.report_id}" if wanted.report_id else ""


def _for_the_log(selection: dict[str, Any]) -> dict[str, Any]:
    """The selection with the first keys only, and their number if there are many."""
    keys = selection["keys"]
    if keys is None or len(keys) <= _KEYS_LOGGED:
        return selection
    return {**selection, "keys": keys[:_KEYS_LOGGED], "keys_in_total": len(keys)}
