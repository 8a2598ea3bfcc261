"""Whether a table can be audited now, and which of its sides is right."""

from collections.abc import Sequence

from psycopg import sql

from rollout.engine.target import Connection, fetch_bool
from rollout.plan import facts
from rollout.plan.archives import archive_name, fingerprint
from rollout.plan.names import SCHEMA, in_target
from rollout.plan.plan import Plan
from rollout.plan.table import Shape, Table


def refusal_to_audit(connection: Connection, plan: Plan, table: Table, columns: set[str]) -> str:
    """Why a table cannot be audited yet, with what to do about it; empty where it can."""
    translations = (*plan.translations_of(table), *plan.computed_of(table))
    wanted = [column for t in translations for column in t.added]
    absent = [column for column in wanted if column not in columns]
    if absent:
        return f"{table.label} has no column {absent[0]} yet. Start phases 1 and 2 first."
    for column in plan.legacy_of(table):
        if column not in columns and (reason := _not_archived(connection, plan, table, column)):
            return reason
    for lookup in plan.lookups_of(table):
        name = lookup.mapping_name(plan.name)
        if lookup.legacy not in columns:
            if not _exists(connection, name):
                return _missing_with(f"{table.label}.{lookup.legacy}", name)
            continue
        if _exists(connection, name):
            continue
        return f"{table.label}.{lookup.legacy} is not mapped yet. Start phase 2 first."
    return ""


def _not_archived(connection: Connection, plan: Plan, table: Table, column: str) -> str:
    """Why the values of a dropped column cannot be known; empty where they can."""
    name = archive_name(plan, table)
    return "" if _exists(connection, name) else _missing_with(f"{table.label}.{column}", name)


def _missing_with(label: str, name: str) -> str:
    return (
        f"{label} and its archive {SCHEMA}.{name} are both missing. Restore the archive from the "
        "snapshot taken before phase 4."
    )


def why_archive_is_torn(connection: Connection, plan: Plan, table: Table) -> str:
    """What is wrong with the archive of a table's values; empty if it is unchanged.

    Reads the archive once.
    """
    name = archive_name(plan, table)
    row = connection.execute(
        sql.SQL("SELECT obj_description({}::regclass, 'pg_class'), {}").format(
            sql.Literal(in_target(name).as_string()), fingerprint(in_target(name))
        )
    ).fetchone()
    made, now = row or (None, None)
    if made == now:
        return ""
    return (
        f"The archive of {table.label} has changed since it was created: {SCHEMA}.{name} had "
        f"{_rows_of(made)} and now has {_rows_of(now)}, or other values in them. Restore it from "
        "the snapshot taken before phase 4."
    )


def _rows_of(made: str | None) -> str:
    return made.split(",")[0] if made else "an unknown number of rows"


def _exists(connection: Connection, name: str) -> bool:
    return fetch_bool(connection, facts.relation_exists(sql.Identifier(SCHEMA, name)))


def snapshot_of(connection: Connection) -> str:
    """The id of the exported snapshot, and the WAL position of its time."""
    row = connection.execute(
        "SELECT pg_current_snapshot()::text, CASE WHEN pg_is_in_recovery()"
        " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text"
    ).fetchone()
    return " at ".join(filter(None, row)) if row else ""


def authority_of(connection: Connection, plan: Plan, live: Shape, tables: Sequence[Table]) -> str:
    """The side that is right: legacy, new, or archive where the legacy text is gone."""
    if any(column not in live[table.label] for table in tables for column in plan.legacy_of(table)):
        return "archive"
    if not _exists(connection, "modes"):
        return "legacy"
    row = connection.execute(
        "SELECT write_mode FROM rollout.modes WHERE plan = %s", [plan.name]
    ).fetchone()
    return "new" if row and row[0] == "new" else "legacy"
