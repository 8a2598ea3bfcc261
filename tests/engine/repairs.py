"""Repairs of damaged tables, and what they leave."""

from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from rollout.engine import ddl
from rollout.engine.repair import (
    RepairDirection,
    RepairPlan,
    Selection,
)
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Compute, Fill, Statement
from rollout.plan.names import in_target
from tests.engine.actions import NoControl, do_until, run_fill
from tests.engine.samples import BIGINT, Sample

PLAN = BIGINT.plan

KINDS, STATES = BIGINT.kind, BIGINT.state

KIND_MAPPING = in_target(KINDS.mapping_name(PLAN.name))

STATE_MAPPING = in_target(STATES.mapping_name(PLAN.name))

COLUMNS = ("kind_id", "state_id", "is_open", "opened_at")

MADE = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def repairing(
    sample: Sample = BIGINT, direction: RepairDirection = "forward", **selection: Any
) -> RepairPlan:
    return RepairPlan(sample.plan, sample.table, Selection.of(selection), direction=direction)


def carry_out(connection: Connection, repair: RepairPlan) -> int:
    """Carry every pass of a repair out, as a worker does; the rows that were written."""
    written = 0
    for action in repair.passes:
        if isinstance(action, Statement):
            ddl.apply(connection, action, NoControl())
        elif isinstance(action, Fill | Compute):
            written += run_fill(connection, action).updated
    return written


def quietly(connection: Connection, sample: Sample, number: int, **values: Any) -> None:
    """Write a row as no trigger sees it: damage."""
    switch = sql.SQL("ALTER TABLE {} {} TRIGGER USER")
    connection.execute(switch.format(sample.table.identifier, sql.SQL("DISABLE")))
    sample.update(connection, number, **values)
    connection.execute(switch.format(sample.table.identifier, sql.SQL("ENABLE")))


def everything(connection: Connection, sample: Sample = BIGINT) -> dict[Any, Any]:
    """Every row with the version that it is in: a row that was written has another one."""
    rows = connection.execute(
        sql.SQL("SELECT {}, t.ctid::text, t.xmin::text, to_jsonb(t) FROM {} AS t").format(
            sql.SQL("jsonb_build_array({})").format(sample.table.key_of("t")),
            sample.table.identifier,
        )
    ).fetchall()
    return {tuple(key): tuple(rest) for key, *rest in rows}


def mapped_rows(target: Target, connection: Connection, *kinds: str | None) -> None:
    """Rows of those kinds, all of them open and filled, with the dual write on."""
    BIGINT.create(connection)
    for number, kind in enumerate(kinds):
        BIGINT.insert(connection, number, kind=kind, state="open")
    do_until(target, connection, PLAN, "backfill")


def cast_doubt(connection: Connection, text: str, what: str) -> None:
    """Have the mapping say of a text that nobody knows, or another thing than of its likes."""
    change = {
        "unmapped": "UPDATE {} SET lookup_id = NULL, why = 'unmapped' WHERE legacy = {}",
        "no value": "UPDATE {} SET lookup_id = NULL, why = 'no_value' WHERE legacy = {}",
        "new": "DELETE FROM {} WHERE legacy = {}",
        "astray": "UPDATE {} SET why = 'reviewed', lookup_id = (SELECT max(id) FROM kinds)"
        " WHERE legacy = {}",
        "none": "",
    }[what]
    if change:
        connection.execute(sql.SQL(change).format(KIND_MAPPING, sql.Literal(text)))


def one_of_each_category(target: Target, connection: Connection) -> None:
    """One row of every category: its number says which, and row 9 is right."""
    texts = ["House"] * 6 + ["Astray", "astray", "Castle", "House"]
    mapped_rows(target, connection, *texts)
    flat = BIGINT.lookup_id(connection, "Flat")
    connection.execute(
        sql.SQL("UPDATE {} SET lookup_id = NULL, why = 'unmapped' WHERE legacy = 'Castle'").format(
            KIND_MAPPING
        )
    )
    connection.execute(
        sql.SQL("UPDATE {} SET lookup_id = {} WHERE legacy = 'astray'").format(
            KIND_MAPPING, sql.Literal(flat)
        )
    )
    quietly(connection, BIGINT, 0, kind_id=None)
    quietly(connection, BIGINT, 1, kind_id=flat)
    quietly(connection, BIGINT, 2, kind_id=4711)
    quietly(connection, BIGINT, 3, state=None, is_open=False, opened_at=None)
    quietly(connection, BIGINT, 4, opened_at=None)
    quietly(connection, BIGINT, 5, is_open=False)
    quietly(connection, BIGINT, 7, kind_id=flat)
    quietly(connection, BIGINT, 8, kind_id=None)
