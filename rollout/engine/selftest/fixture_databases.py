"""A copy of a plan's tables in a database of its own, right by construction.

Rows carry the legacy values of the live ones; what they mean is taken from the live mapping, but
for what is itself a mismatch there: its own mistakes are for an audit of the live tables to find.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from rollout.engine import ddl, target
from rollout.engine.audit.random_samples import BATCH_SIZE, Function
from rollout.engine.catalog import live_columns, tables_of
from rollout.engine.control import NullControl
from rollout.engine.quarantine import is_row, key_of
from rollout.engine.snapshot import scratch
from rollout.engine.snapshot.dump import exported, of_database
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.programs import Programs
from rollout.engine.snapshot.restore import prepare
from rollout.engine.snapshot.scripts import label_of
from rollout.engine.target import Connection, Target, fetch_bool
from rollout.engine.value_decisions import make_types
from rollout.plan import facts
from rollout.plan.actions import Statement
from rollout.plan.archives import archive_name
from rollout.plan.errors import RolloutError
from rollout.plan.extracted_tables import CreateExtractedTable
from rollout.plan.extractions import extracts_in
from rollout.plan.mapping import mapping_table
from rollout.plan.names import SCHEMA, code, in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.refusals import refusal
from rollout.plan.schema import CreateLookupTable
from rollout.plan.table import Column, Table
from rollout.plan.transition import triggers
from rollout.plan.translations import Computed, Lookup

_PREFIX = "rollout_selftest"
_LOCK = "SELECT pg_try_advisory_lock(hashtext('rollout audit self-test'))"
# Maximum of rows computed per table: a function may read a file for each.
MAX_COMPUTED_ROWS = 60


_NOT_THERE = (
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
)


class SelftestUndecided(RolloutError):
    """The self-test ended without a score; the message says why and what to do."""


def scratch_name(dbname: str) -> str:
    """The scratch database of a live one: one server may serve several."""
    return f"{_PREFIX}_{hashlib.sha256(dbname.encode()).hexdigest()[:16]}"


@contextmanager
def scratch_database(connection: Connection, live: Target) -> Iterator[Target]:
    """An empty database beside the live one, dropped afterwards. Raises SelftestUndecided.

    One at a time for each live database, so that what a killed one left can be told and dropped.
    """
    row = connection.execute(_LOCK).fetchone()
    if not row or not row[0]:
        raise SelftestUndecided(
            "A self-test of this database is already running. Wait until it finishes."
        )
    name = scratch_name(connection.info.dbname)
    try:
        scratch.drop(connection, name)
        made = scratch.create_like(connection, live, name)
    except SnapshotError as error:
        raise SelftestUndecided(f"{error} {error.advice}") from error
    try:
        yield made
    finally:
        # Where the server is away, the next self-test drops what is left.
        with suppress(psycopg.Error):
            scratch.drop(connection, name)


def columns_of(plan: Plan, table: Table) -> dict[str, Column]:
    """What the copy of a table has: its key, what translations read, and what they write."""
    translations = [*plan.translations_of(table), *plan.computed_of(table)]
    read = dict.fromkeys([*table.key, *(name for t in translations for name in t.reads)])
    new = {name: column for t in translations for name, column in t.added.items()}
    return {name: table.columns[name] for name in read} | new


def needed_of(live: Target, plan: Plan, programs: Programs | None) -> list[str]:
    """SQL of types, functions and the like that the plan's columns and expressions may need.

    Without the programs nothing is known of them: most plans need none.
    """
    if programs is None:
        return []
    control = NullControl()
    try:
        with (
            live.connect() as connection,
            exported(connection, plan, control, with_rows=False) as snapshot,
        ):
            return of_database(programs, live, snapshot, control)
    except SnapshotError:
        return []


def build(copy: Connection, plan: Plan, needed: Sequence[str] = ()) -> None:
    """The tables, empty, with lookup tables, mappings and the triggers of the dual write.

    Raises SelftestUndecided where something is lacking that they are made of.
    """
    lacking = prepare(copy, list(needed))
    try:
        _build(copy, plan)
    except _NOT_THERE as error:
        labels = ", ".join(map(label_of, lacking))
        raise SelftestUndecided(
            f"Cannot create the copy: {error.diag.message_primary}. "
            + (
                f"Missing: {labels}."
                if labels
                else "Install the server's pg_dump here, to copy types and functions too."
            )
        ) from error


def _build(copy: Connection, plan: Plan) -> None:
    copy.execute("SET synchronous_commit = off")
    target.install(copy)
    for table in plan.audited_tables:
        copy.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(table.schema)))
        for conversion in plan.conversions_of(table):
            make_types(copy, plan, conversion)
        copy.execute(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
                table.identifier,
                sql.SQL(", ").join(
                    sql.SQL("{} {}").format(sql.Identifier(name), code(column.type))
                    for name, column in columns_of(plan, table).items()
                ),
                sql.SQL(", ").join(map(sql.Identifier, table.key)),
            )
        )
        for lookup in plan.lookups_of(table):
            step = CreateLookupTable(id="lookup", description="A lookup table", lookup=lookup)
            for statement in (*step.forward(plan), mapping_table(lookup, plan.name)):
                assert isinstance(statement, Statement)
                ddl.apply(copy, statement, NullControl())
        for extract in extracts_in(plan.conversions_of(table)):
            create = CreateExtractedTable(id="extract", description="Its table", extract=extract)
            for statement in create.forward(plan):
                assert isinstance(statement, Statement)
                ddl.apply(copy, statement, NullControl())
        ddl.apply(copy, triggers(plan, table).install("forward"), NullControl())


def fill(
    live: Connection,
    copy: Connection,
    plan: Plan,
    function_of: Callable[[str], Function],
    *,
    rows: int,
) -> dict[str, int]:
    """Copy the lookup rows, the mappings and up to ``rows`` rows of each table; the rows copied.

    Everything is read in one snapshot of the live database.
    """
    filled = {}
    with live.transaction():
        live.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        shape = live_columns(live, tables_of(plan))
        for table in plan.audited_tables:
            if table.label not in shape:
                raise SelftestUndecided(
                    f"Table {table.label} not found. Check the environment's database."
                )
            for lookup in plan.lookups_of(table):
                _copy_lookup(live, copy, plan, lookup, known=set(shape))
            computed = plan.computed_of(table)
            most = min(rows, MAX_COMPUTED_ROWS) if computed else rows
            _copy_rows(live, copy, plan, table, set(shape[table.label]), most)
            for translation in computed:
                _compute(copy, translation, function_of(translation.function))
            filled[table.label] = _without_mismatches(copy, plan, table)
    return filled


def _copy_lookup(
    live: Connection, copy: Connection, plan: Plan, lookup: Lookup, *, known: set[str]
) -> None:
    """Lookup rows, all of them in use, and the mapping as far as it raises no questions."""
    if lookup.lookup_label not in known:
        return
    rows = live.execute(sql.SQL("SELECT id, name FROM {}").format(lookup.lookup_sql)).fetchall()
    _insert(copy, lookup.lookup_sql, {"id": lookup.key_type, "name": "text"}, rows)
    copy.execute(
        sql.SQL(
            "SELECT setval(pg_get_serial_sequence({}, 'id'), coalesce(max(id), 0) + 1) FROM {}"
        ).format(sql.Literal(lookup.lookup_sql.as_string()), lookup.lookup_sql)
    )
    name = lookup.mapping_name(plan.name)
    if not fetch_bool(live, facts.relation_exists(sql.Identifier(SCHEMA, name))):
        return
    mapped = live.execute(
        sql.SQL(
            "SELECT m.legacy, m.lookup_id, m.why FROM {mapping} AS m"
            " JOIN {lookup} AS l ON l.id = m.lookup_id"
            " WHERE NOT EXISTS (SELECT FROM {mapping} AS o WHERE o.normal = m.normal"
            " AND o.lookup_id IS DISTINCT FROM m.lookup_id)"
        ).format(mapping=in_target(name), lookup=lookup.lookup_sql)
    ).fetchall()
    _insert(
        copy,
        in_target(name),
        {"legacy": "text", "lookup_id": lookup.key_type, "why": "text"},
        mapped,
    )


def _copy_rows(
    live: Connection, copy: Connection, plan: Plan, table: Table, there: set[str], most: int
) -> None:
    """Keys and legacy values; from the archive where the legacy columns are dropped."""
    wanted = {name: c for name, c in columns_of(plan, table).items() if name in table.columns}
    gone = [name for name in wanted if name not in there]
    joined: sql.Composable = sql.SQL("")
    if gone:
        same_key = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("a", c), sql.Identifier("t", c))
            for c in table.key
        )
        joined = sql.SQL(" JOIN {} AS a ON {}").format(
            in_target(archive_name(plan, table)), same_key
        )
    rows = live.execute(
        sql.SQL("SELECT {} FROM {} AS t{} LIMIT {}").format(
            sql.SQL(", ").join(
                sql.SQL("{}::text").format(sql.Identifier("a" if name in gone else "t", name))
                for name in wanted
            ),
            table.identifier,
            joined,
            sql.Literal(most),
        )
    ).fetchall()
    _insert(copy, table.identifier, {name: c.type for name, c in wanted.items()}, rows)


def _compute(copy: Connection, translation: Computed, function: Function) -> None:
    """Fill computed columns in as the backfill does; rows without an answer go."""
    table, reads = translation.table, translation.reads
    rows = copy.execute(
        sql.SQL("SELECT {}, {} FROM {} AS t").format(
            key_of(table),
            sql.SQL(", ").join(sql.Identifier("t", name) for name in reads),
            table.identifier,
        )
    ).fetchall()
    columns = list(translation.columns)
    update = sql.SQL("UPDATE {} AS t SET {} WHERE ").format(
        table.identifier,
        sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(c)) for c in columns),
    )
    delete = sql.SQL("DELETE FROM {} AS t WHERE ").format(table.identifier)
    for first in range(0, len(rows), BATCH_SIZE):
        batch = rows[first : first + BATCH_SIZE]
        outcomes = function([dict(zip(reads, row[1:], strict=True)) for row in batch])
        for (key, *_), outcome in zip(batch, outcomes, strict=True):
            values = [] if isinstance(outcome, Exception) else [outcome[c] for c in columns]
            if not values or None in values:
                copy.execute(delete + is_row(table, key))
            else:
                copy.execute(update + is_row(table, key), values)


def _without_mismatches(copy: Connection, plan: Plan, table: Table) -> int:
    """Delete rows whose text is too long to be mapped, or does not convert; how many are left."""
    for lookup in plan.lookups_of(table):
        copy.execute(
            sql.SQL("DELETE FROM {} AS t WHERE {} IS NULL AND {} <> ''").format(
                table.identifier,
                sql.Identifier("t", lookup.column),
                normal(lookup.legacy_text("t")),
            )
        )
    for conversion in plan.conversions_of(table):
        if conversion.drops and not conversion.leaves_empty:
            copy.execute(
                sql.SQL("DELETE FROM {} AS t WHERE {} IS NOT NULL").format(
                    table.identifier, refusal(conversion, plan.name, "t")
                )
            )
    row = copy.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier)).fetchone()
    return int(row[0]) if row else 0


def _insert(
    copy: Connection,
    table: sql.Composable,
    columns: Mapping[str, str],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Insert rows of texts into columns of the types."""
    if not rows:
        return
    with copy.transaction(), copy.cursor() as cursor:
        cursor.executemany(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                table,
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join(sql.SQL("%s::{}").format(code(t)) for t in columns.values()),
            ),
            rows,
        )
