"""A database without the site for each module that asks for it, swept clean for each test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from psycopg import conninfo, sql

from config import embedded
from rollout.engine.target import Connection, Target, install
from tests.support.servers import RUN

# Which of pg_proc's functions plans have in the engine's schema, where the engine has one too.
OF_PLANS = "pronamespace = to_regnamespace('rollout') AND proname <> 'raises'"


@contextmanager
def new_database(template: str | None = None) -> Iterator[Target]:
    """A database for as long as this: empty, or a copy of the template."""
    url = embedded.with_database(os.environ["DATABASE_URL"], f"rollout_{uuid4().hex}")
    embedded.create_database(url, template=template)
    try:
        yield Target(conninfo.conninfo_to_dict(url))
    finally:
        embedded.drop_database(url)


@contextmanager
def database_on(server: Target, how: str = "") -> Iterator[Target]:
    """A database of a server for as long as this; ``how`` is the rest of its CREATE DATABASE."""
    name = f"rollout_{uuid4().hex}"
    with server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(how))
        )
        try:
            yield Target({**server.parameters, "dbname": name})
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def embedded_server() -> Target:
    return Target(conninfo.conninfo_to_dict(os.environ["DATABASE_URL"]))


# By the directory of a server's socket: the end of CREATE DATABASE that copies its template.
_copies: dict[str, str] = {}


def copy_of_engine(server: Target) -> str:
    """The end of a CREATE DATABASE that copies one which has the engine's schema and nothing else.

    To install it in each costs as much as many a test.
    """
    place = server.parameters["host"]
    if place not in _copies:
        name, draft = f"rollout_engine_{os.environ[RUN]}", f"rollout_draft_{os.environ[RUN]}"
        with server.connect() as connection:
            # Workers share the embedded server: the first one makes it.
            connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
            there = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
            if there.fetchone() is None:
                connection.execute(f"CREATE DATABASE {draft} {_sorted_alike(connection)}".encode())
                with Target({**server.parameters, "dbname": draft}).connect() as inside:
                    install(inside)
                connection.execute(f"ALTER DATABASE {draft} RENAME TO {name}".encode())
            copied_fast = connection.info.server_version >= 150000
        _copies[place] = f"TEMPLATE {name}{' STRATEGY file_copy' if copied_fast else ''}"
    return _copies[place]


def _sorted_alike(connection: Connection) -> str:
    """The end of a CREATE DATABASE with the same sort order on every machine."""
    if connection.info.server_version < 170000:
        return ""
    return "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A database of the module's own, with nothing in it but the engine's schema."""
    server = embedded_server()
    with database_on(server, copy_of_engine(server)) as empty:
        with empty.connect() as connection:
            _remember_installed(connection)
        yield empty


@pytest.fixture(scope="module")
def module_connection(target: Target) -> Iterator[Connection]:
    with target.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def expanded_table(target: Target, module_connection: Connection) -> Connection:
    """An empty table at the end of phase 1."""
    from tests.engine.actions import do_until
    from tests.engine.samples import BIGINT

    clear(module_connection)
    BIGINT.create(module_connection)
    do_until(target, module_connection, BIGINT.plan, "add-columns")
    return module_connection


@pytest.fixture
def connection(target: Target) -> Iterator[Connection]:
    """The engine's connection to a database that has nothing in it but the engine's schema."""
    with target.connect() as connection:
        clear(connection)
        yield connection


@pytest.fixture
def one_thing(connection: Connection) -> None:
    """A legacy table with a row."""
    from tests.engine.samples import BIGINT

    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House", state="open")


@pytest.fixture
def app(target: Target, connection: Connection) -> Iterator[Connection]:
    """A connection of the application, autocommitting."""
    with target.connect() as application:
        application.execute("SET application_name = 'the application'")
        yield application


# By database: the catalog's rows of the engine's schema as they were after its installation, each
# with the transaction that wrote it. Whatever alters one of its tables changes them.
_installed: dict[str, dict[str, str]] = {}
_CATALOG = """
WITH relations AS (
  SELECT *, xmin FROM pg_class WHERE relnamespace = to_regnamespace('rollout')
)
SELECT 'schema', xmin::text FROM pg_namespace WHERE nspname = 'rollout'
UNION ALL SELECT 'version', obj_description(to_regnamespace('rollout'), 'pg_namespace')
UNION ALL SELECT oid::text, xmin::text FROM relations
UNION ALL SELECT concat_ws(' ', attrelid, attnum), a.xmin::text
  FROM pg_attribute a JOIN relations r ON r.oid = attrelid
UNION ALL SELECT concat('constraint ', c.oid), c.xmin::text
  FROM pg_constraint c JOIN relations r ON r.oid = conrelid
UNION ALL SELECT concat('trigger ', t.oid), t.xmin::text
  FROM pg_trigger t JOIN relations r ON r.oid = tgrelid
UNION ALL SELECT concat('type ', oid), xmin::text
  FROM pg_type WHERE typnamespace = to_regnamespace('rollout')
UNION ALL SELECT concat('routine ', oid), xmin::text
  FROM pg_proc WHERE pronamespace = to_regnamespace('rollout')
"""


def clear(connection: Connection) -> None:
    """Take away everything that a test left, and install the engine's schema.

    Of that the rows alone go, and what a phase made in it, where its tables are as they were
    installed: making them again costs more than many a test.
    """
    database = connection.info.dbname
    installed = _installed.get(database)
    with connection.transaction():
        connection.execute("SET LOCAL client_min_messages = warning")
        for (schema,) in connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN "
            "('information_schema', 'rollout')"
        ).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        connection.execute("CREATE SCHEMA public")
        if installed is None or not _emptied(connection, installed):
            connection.execute("DROP SCHEMA IF EXISTS rollout CASCADE")
            installed = None
    if installed is None:
        install(connection)
        _remember_installed(connection)


def _remember_installed(connection: Connection) -> None:
    rows = connection.execute(_CATALOG.encode()).fetchall()
    _installed[connection.info.dbname] = dict(rows)


def _emptied(connection: Connection, installed: dict[str, str]) -> bool:
    """Leave what was installed, without rows. False where that is something else by now."""
    routines = connection.execute(
        f"SELECT oid::regprocedure::text FROM pg_proc WHERE {OF_PLANS}".encode()
    ).fetchall()
    tables = connection.execute(
        "SELECT oid::text, oid::regclass::text FROM pg_class "
        "WHERE relnamespace = to_regnamespace('rollout') AND relkind = 'r'"
    ).fetchall()
    statements = [
        *(f"DROP ROUTINE IF EXISTS {name} CASCADE" for (name,) in routines),
        *(f"DROP TABLE IF EXISTS {name} CASCADE" for oid, name in tables if oid not in installed),
        *(f"DELETE FROM {name}" for oid, name in tables if oid in installed),
    ]
    if statements:
        connection.execute(";".join(statements).encode())
    return dict(connection.execute(_CATALOG.encode()).fetchall()) == installed
