"""Puts a dump back: into a scratch database to see that it is whole, or in place of tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from rollout.engine import fences
from rollout.engine.control import Control
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import (
    SHARED,
    Contents,
    contents_of,
    differences,
    functions_of,
    names_of_tables,
    relations_of,
    renamings_of,
)
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.preserved_ddl import preserved_ddl_of
from rollout.engine.snapshot.scratch import scratch_database
from rollout.engine.snapshot.scripts import label_of
from rollout.engine.target import Connection, Target, fetch_bool, install
from rollout.plan import facts
from rollout.plan.names import SCHEMA, in_target
from rollout.plan.plan import Plan

LOCK_TIMEOUT = "10s"
_THERE_ALREADY = (
    errors.DuplicateObject,
    errors.DuplicateTable,
    errors.DuplicateFunction,
    errors.DuplicateSchema,
)
# Entries of a dump that would make the tables that are there for every plan already.
_DEFINITIONS = [
    f"{kind} {SCHEMA} {name}{end}"
    for name in SHARED
    for kind, end in (("TABLE", ""), ("CONSTRAINT", ""), ("INDEX", "_key"))
]


@dataclass(frozen=True)
class Recorded:
    """What is known of a snapshot besides its dump."""

    contents: Contents
    prerequisites: list[str]
    left_out: list[str]


@dataclass(frozen=True)
class Verification:
    """What a restored copy held, and how that differs from what was recorded."""

    contents: Contents
    differences: list[str]


def verify(
    target: Target,
    plan: Plan,
    archive: Archive,
    recorded: Recorded,
    control: Control,
    *,
    snapshot: int,
    token: int,
) -> Verification:
    """Restore a dump into a scratch database on the target's server and compare the contents.

    Raises SnapshotError, Interrupted and psycopg.Error.
    """
    with (
        target.connect() as connection,
        scratch_database(connection, target, snapshot, token) as scratch,
        scratch.connect() as copy,
    ):
        control.attach(copy)
        # The copy is thrown away: nobody waits for it to be on disk.
        copy.execute("SET synchronous_commit = off")
        load(copy, archive, recorded, leave_out=recorded.left_out)
        restored = contents_of(copy, plan, relations_of(copy, plan))
        return Verification(restored, differences(recorded.contents, restored))


def replace_tables(
    connection: Connection,
    plan: Plan,
    archive: Archive,
    recorded: Recorded,
    control: Control,
    *,
    committing: Callable[[int], None] = lambda _transaction: None,
) -> None:
    """Put a dump in place of a plan's tables, all of it in one transaction.

    Whatever the plan has there goes: tables, lookup tables, mapping, archive, triggers. Owners,
    rights on tables, columns and sequences, and foreign keys to other tables stay as they are
    there. ``committing`` gets the transaction's number just before it is committed: the server
    tells by it what became of it, also when the connection is lost. Raises SnapshotError,
    Interrupted and psycopg.Error; nothing has changed then, unless that happened while it was
    committed.
    """
    fences.take_over(connection, plan.name, control)
    install(connection)
    shared = [
        name for name in SHARED if fetch_bool(connection, facts.relation_exists(in_target(name)))
    ]
    with connection.transaction():
        control.attach(connection)
        connection.execute(
            sql.SQL("SELECT set_config('lock_timeout', {}, true)").format(sql.Literal(LOCK_TIMEOUT))
        )
        kept = preserved_ddl_of(
            connection, plan.name, relations_of(connection, plan), names_of_tables(plan)
        )
        _drop(connection, plan)
        for name in shared:
            connection.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DROP"
                ).format(sql.Identifier(f"restored_{name}"), in_target(name))
            )
        load(
            connection,
            archive,
            recorded,
            leave_out=[*recorded.left_out, *_DEFINITIONS],
            instead={f"{SCHEMA}.{name}": f"pg_temp.restored_{name}" for name in shared},
        )
        for name in shared:
            connection.execute(
                sql.SQL(
                    "DELETE FROM {shared} WHERE plan = {plan};"
                    "INSERT INTO {shared} SELECT * FROM {restored} WHERE plan = {plan}"
                ).format(
                    shared=in_target(name),
                    restored=sql.Identifier("pg_temp", f"restored_{name}"),
                    plan=sql.Literal(plan.name),
                )
            )
        there = relations_of(connection, plan)
        kept.put_back(connection, there)
        for renaming in renamings_of(plan):
            if fetch_bool(connection, renaming.view_exists):
                connection.execute(renaming.view_again)
        restored = contents_of(connection, plan, there)
        others = {f"{SCHEMA}.{name}" for name in SHARED}
        wrong = differences(_without(recorded.contents, others), _without(restored, others))
        if wrong:
            raise SnapshotError(
                f"The restored data does not match the snapshot: {' '.join(wrong)}",
                "Nothing was changed. Take another snapshot and restore that one.",
            )
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        committing(int(row[0]))


def load(
    connection: Connection,
    archive: Archive,
    recorded: Recorded,
    *,
    leave_out: list[str],
    instead: Mapping[str, str] | None = None,
) -> None:
    """Put a dump into a database, after what it needs there. Names what that lacks."""
    lacking = prepare(connection, recorded.prerequisites)

    def once_more() -> None:
        # What takes a row of the dumped tables.
        nonlocal lacking
        lacking = prepare(connection, list(lacking))

    try:
        archive.load(
            connection, leave_out=leave_out, instead=instead, once_tables_are_there=once_more
        )
    except SnapshotError as error:
        lacks = "; ".join(
            f"{label_of(statement)} ({reason})" for statement, reason in lacking.items()
        )
        if not lacks:
            raise
        raise SnapshotError(f"{error} Missing in the copy: {lacks}.", error.advice) from error


def prepare(connection: Connection, statements: list[str]) -> dict[str, str]:
    """Make what is not there yet; those that cannot be made, each with the reason."""
    lacking = {}
    for statement in statements:
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('check_function_bodies', 'off', true)")
                connection.execute(statement.encode())
        except _THERE_ALREADY:
            continue
        except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
            lacking[statement] = error.diag.message_primary or str(error)
    return lacking


def _drop(connection: Connection, plan: Plan) -> None:
    """Take away all that the plan has in a database, and nothing that hangs on it."""
    relations = [
        relation
        for relation in relations_of(connection, plan)
        if not (relation.schema == SCHEMA and relation.name in SHARED)
    ]
    try:
        for kind, words in (("m", "MATERIALIZED VIEW"), ("v", "VIEW"), ("rp", "TABLE")):
            names = [relation.identifier for relation in relations if relation.kind in kind]
            if names:
                connection.execute(
                    sql.SQL("DROP {} {}").format(sql.SQL(words), sql.SQL(", ").join(names))
                )
    except errors.DependentObjectsStillExist as error:
        raise SnapshotError(
            f"Other objects depend on the plan's tables: {error.diag.message_detail or ''}",
            "Nothing was changed. Drop these objects first, or restore into an empty database.",
        ) from error
    connection.execute(
        sql.SQL(
            "DO $do$ DECLARE f regprocedure; BEGIN FOR f IN SELECT p.oid FROM pg_proc AS p"
            " WHERE p.pronamespace = {}::regnamespace AND p.proname = ANY ({})"
            " LOOP EXECUTE 'DROP FUNCTION ' || f; END LOOP; END $do$"
        ).format(sql.Literal(SCHEMA), sql.Literal(functions_of(plan)))
    )


def _without(contents: Contents, tables: set[str]) -> Contents:
    counts = {name: rows for name, rows in contents.counts.items() if name not in tables}
    return Contents(counts, contents.crosstabs)
