"""Takes a dump: what it held is counted in the very snapshot that it reads."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import IsolationLevel, sql

from rollout.engine.control import Control
from rollout.engine.snapshot.contents import (
    Contents,
    Relation,
    contents_of,
    left_out,
    not_needed,
    own_prerequisites,
    relations_of,
)
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.pipes import Program
from rollout.engine.snapshot.programs import Programs
from rollout.engine.snapshot.scripts import entries
from rollout.engine.target import Connection, Target
from rollout.plan.names import SCHEMA
from rollout.plan.plan import Plan

LOCK_TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class Exported:
    """A snapshot of the server that other sessions may read too, and what the plan holds in it."""

    id: str
    lsn: str
    server_version: str
    system_identifier: str
    relations: list[Relation]
    contents: Contents
    needed: tuple[list[str], list[str]]
    """SQL of the schemas and of the plan's own functions, which a dump of tables leaves out."""
    not_needed: list[str]
    left_out: list[str]


@contextmanager
def exported(
    connection: Connection, plan: Plan, control: Control, *, with_rows: bool = True
) -> Iterator[Exported]:
    """A snapshot for as long as this lasts. Raises SnapshotError if there is nothing to dump.

    Without rows nothing is counted.
    """
    control.attach(connection)
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{LOCK_TIMEOUT_MS}ms"])
    system = _system_identifier(connection)
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        row = connection.execute(
            "SELECT pg_export_snapshot(), current_setting('server_version'),"
            " (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
            "  ELSE pg_current_wal_lsn() END)::text"
        ).fetchone()
        assert row is not None
        relations = relations_of(connection, plan)
        there = {(relation.schema, relation.name) for relation in relations}
        missing = [t.label for t in plan.tables if (t.schema, t.name) not in there]
        if missing:
            raise SnapshotError(
                f"Tables not found: {', '.join(missing)}",
                "Check the environment's database, then take another snapshot.",
            )
        yield Exported(
            id=row[0],
            lsn=row[2],
            server_version=row[1],
            system_identifier=system,
            relations=relations,
            contents=contents_of(connection, plan, relations) if with_rows else Contents(),
            needed=own_prerequisites(connection, plan, relations),
            not_needed=not_needed(connection, relations),
            left_out=left_out(connection, relations),
        )


def prerequisites(
    programs: Programs, target: Target, exported: Exported, control: Control
) -> list[str]:
    """SQL of all that the dumped tables may need and that is not in their dump.

    Raises SnapshotError and Interrupted.
    """
    schemas, functions = exported.needed
    return [*schemas, *of_database(programs, target, exported, control), *functions]


def of_database(
    programs: Programs, target: Target, exported: Exported, control: Control
) -> list[str]:
    """SQL of what is the database's own rather than the plan's, an object a statement.

    Types, functions, sequences, collations, extensions and the like are those of the whole
    database: what a function's text reads PostgreSQL does not tell. Of other relations only those
    are in it that it knows to be needed. Raises SnapshotError and Interrupted.
    """
    command = [
        *(programs.pg_dump, "--schema-only", "--section=pre-data", "--encoding=UTF8"),
        *("--no-owner", "--no-privileges", "--no-tablespaces", "--no-password"),
        *(f"--snapshot={exported.id}", f"--lock-wait-timeout={LOCK_TIMEOUT_MS}"),
        f"--exclude-schema={sql.Identifier(SCHEMA).as_string()}",
        *(f"--exclude-table={name}" for name in exported.not_needed),
    ]
    with Program(command, env=target.environment, control=control) as program:
        script = b"".join(program.output())
    return [entry.sql.decode() for entry in entries(script) if entry.label]


def _system_identifier(connection: Connection) -> str:
    try:
        row = connection.execute("SELECT system_identifier::text FROM pg_control_system()")
        identifier = row.fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return str(identifier[0]) if identifier else ""


def dump(
    programs: Programs,
    target: Target,
    exported: Exported,
    control: Control,
    *,
    with_rows: bool = True,
) -> Generator[bytes, None, None]:
    """The dump in pg_dump's custom format, as it comes. Raises SnapshotError and Interrupted."""
    command = [
        # Little compression: the sooner a dump ends, the shorter it keeps dead rows from going.
        *(programs.pg_dump, "--format=custom", "--compress=1", "--no-password"),
        *(f"--snapshot={exported.id}", f"--lock-wait-timeout={LOCK_TIMEOUT_MS}"),
    ]
    if not with_rows:
        command.append("--schema-only")
    # In quotes a pattern of pg_dump matches this name alone.
    command += [f"--table={relation.identifier.as_string()}" for relation in exported.relations]
    with Program(command, env=target.environment, control=control) as program:
        yield from program.output()
