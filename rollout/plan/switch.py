"""The SQL that switches what the application reads and writes, while no transaction of it looks."""

import hashlib
from typing import Literal

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Statement
from rollout.plan.plan import Plan

ReadMode = Literal["legacy", "new"]
WriteMode = Literal["legacy", "both", "new"]


def lock_key(plan: str) -> int:
    """The advisory lock of a plan's modes: the application shares it, a switch holds it alone."""
    digest = hashlib.sha256(f"rollout modes {plan}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def _switch(plan: str, change: sql.Composable) -> sql.Composed:
    return sql.SQL(
        "SELECT pg_advisory_xact_lock({});\n"
        "INSERT INTO rollout.modes (plan) VALUES ({}) ON CONFLICT DO NOTHING;\n"
        "UPDATE rollout.modes SET {}, changed_at = now() WHERE plan = {}"
    ).format(sql.Literal(lock_key(plan)), sql.Literal(plan), change, sql.Literal(plan))


def _modes_are(plan: str, condition: sql.Composable) -> sql.Composable:
    return sql.SQL("EXISTS (SELECT FROM rollout.modes WHERE plan = {} AND {})").format(
        sql.Literal(plan), condition
    )


def switch_modes(
    plan: str, *, read: ReadMode, write: WriteMode, together_with: Statement | None = None
) -> Statement:
    """Set the read and write mode, in the same transaction as another statement where given."""
    change = sql.SQL("read_mode = {}, write_mode = {}").format(
        sql.Literal(read), sql.Literal(write)
    )
    switched = _switch(plan, change)
    done = _modes_are(
        plan,
        sql.SQL("read_mode = {} AND write_mode = {}").format(sql.Literal(read), sql.Literal(write)),
    )
    if together_with is None:
        return Statement(sql=switched, done=done)
    assert together_with.done is not None
    return Statement(
        sql=sql.SQL("{};\n{}").format(switched, together_with.sql),
        done=sql.SQL("({} AND {})").format(done, together_with.done),
        locks=together_with.locks,
        links=together_with.links,
    )


def has_new_columns_alone(plan: Plan) -> sql.Composed | None:
    """A query of one boolean: whether the tables have the columns that the plan leaves them with,
    and none of those that it drops. None for a plan that drops no column of its tables.
    """
    before, after = plan.shape(0), plan.shape(len(plan.phases))
    conditions = []
    drops = False
    for table in plan.tables:
        gone = sorted(before[table.label].keys() - after[table.label].keys())
        made = sorted(after[table.label].keys() - before[table.label].keys())
        # A column that has a legacy one's name and type as well tells nothing.
        kept = {
            name: column.type
            for name, column in after[table.label].items()
            if name in plan.names_after_cutover(table)
            and column.type != before[table.label][name].type
        }
        drops = drops or bool(gone) or bool(kept)
        conditions.append(
            sql.SQL(
                "SELECT count(*) FILTER (WHERE attname = ANY ({made})) = {number}"
                " AND count(*) FILTER (WHERE attname = ANY ({gone})) = 0{kept} AS holds"
                " FROM pg_attribute WHERE attrelid = {table} AND NOT attisdropped"
            ).format(
                made=sql.Literal(made),
                number=sql.Literal(len(made)),
                gone=sql.Literal(gone),
                kept=sql.SQL("").join(
                    sql.SQL(
                        " AND bool_or(attname = {} AND format_type(atttypid, atttypmod) = {})"
                    ).format(sql.Literal(name), sql.Literal(type_))
                    for name, type_ in kept.items()
                ),
                table=table.regclass,
            )
        )
    if not drops:
        return None
    return sql.SQL("SELECT bool_and(holds) FROM ({}) AS tables").format(
        sql.SQL(" UNION ALL ").join(conditions)
    )


def use_feature(plan: str, feature: str) -> Statement:
    """Let the application use a feature."""
    name = sql.Literal(feature)
    change = sql.SQL("features = array_append(array_remove(features, {}), {})").format(name, name)
    return Statement(
        sql=_switch(plan, change),
        done=_modes_are(plan, sql.SQL("{} = ANY (features)").format(name)),
    )


def stop_using_feature(plan: str, feature: str) -> Statement:
    """Let the application no longer use a feature; returns when no transaction does."""
    name = sql.Literal(feature)
    change = sql.SQL("features = array_remove(features, {})").format(name)
    used = _modes_are(plan, sql.SQL("{} = ANY (features)").format(name))
    return Statement(sql=_switch(plan, change), done=facts.no(used))
