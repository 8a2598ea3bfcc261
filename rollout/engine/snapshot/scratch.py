"""Scratch databases: empty, like the one that was dumped, and dropped afterwards."""

import contextlib
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
from psycopg import errors, sql

from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.target import Connection, Target

_PREFIX = "rollout_scratch"


def prefix_of(connection: Connection, snapshot: int) -> str:
    """What the names of a snapshot's scratch databases begin with. A server may serve several."""
    name = connection.info.dbname.encode()
    return f"{_PREFIX}_{hashlib.sha256(name).hexdigest()[:8]}_{snapshot}_"


def drop_leftovers(connection: Connection, snapshot: int) -> None:
    """Drop what workers that died left behind."""
    names = connection.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)",
        [prefix_of(connection, snapshot)],
    ).fetchall()
    for (name,) in names:
        drop(connection, name)


@contextmanager
def scratch_database(
    connection: Connection, target: Target, snapshot: int, token: int
) -> Iterator[Target]:
    """A new database on the target's server, with the same encoding and sort order.

    Raises SnapshotError where the role may not create one.
    """
    name = f"{prefix_of(connection, snapshot)}{token}"
    drop_leftovers(connection, snapshot)
    scratch = create_like(connection, target, name)
    try:
        yield scratch
    finally:
        # If the server is away, the next verification of the snapshot drops what is left.
        with contextlib.suppress(psycopg.Error):
            drop(connection, name)


def create_like(connection: Connection, target: Target, name: str) -> Target:
    """Create an empty database like the target's, on its server.

    Raises SnapshotError where the role may not, and psycopg.Error.
    """
    create(connection, creation(connection, name))
    return replace(target, parameters={**target.parameters, "dbname": name})


def create(connection: Connection, statement: sql.Composed) -> None:
    """Run a ``creation``. Raises SnapshotError where the role may not, and psycopg.Error."""
    try:
        connection.execute(statement)
    except errors.InsufficientPrivilege as error:
        role = connection.info.user
        raise SnapshotError(
            f"Role {role} needs CREATEDB to create a database.",
            f"Run ALTER ROLE {role} CREATEDB as a superuser, then try again.",
        ) from error


def creation(connection: Connection, name: str) -> sql.Composed:
    """SQL that makes a database of the encoding and sort order of the connection's.

    Servers of different versions keep these in different columns.
    """
    row = connection.execute(
        "SELECT to_jsonb(d), pg_encoding_to_char(encoding) FROM pg_database AS d"
        " WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    of, encoding = row
    options = [
        ("ENCODING", encoding),
        ("LC_COLLATE", of["datcollate"]),
        ("LC_CTYPE", of["datctype"]),
    ]
    # Servers before 15 know one provider alone, and no word for it.
    provider = of.get("datlocprovider", "")
    locale = of.get("datlocale") or of.get("daticulocale")
    if provider == "i":
        options += [("LOCALE_PROVIDER", "icu"), ("ICU_LOCALE", locale)]
    elif provider == "c":
        options += [("LOCALE_PROVIDER", "libc")]
    elif provider == "b":
        options += [("LOCALE_PROVIDER", "builtin"), ("BUILTIN_LOCALE", locale)]
    return sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(
        sql.Identifier(name),
        sql.SQL(" ").join(
            sql.SQL("{} {}").format(sql.SQL(option), sql.Literal(value))
            for option, value in options
        ),
    )


def drop(connection: Connection, name: str) -> None:
    """Drop a scratch database, and end the sessions in it."""
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )
