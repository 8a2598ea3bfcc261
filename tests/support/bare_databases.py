"""A database without the site for each module that asks for it, swept clean for each test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from psycopg import conninfo, sql

from config import embedded
from rollout.engine.target import Connection, Target, install


@contextmanager
def new_database(template: str | None = None) -> Iterator[Target]:
    """A database for as long as this: empty, or a copy of the template."""
    url = embedded.with_database(os.environ["DATABASE_URL"], f"rollout_{uuid4().hex}")
    embedded.create_database(url, template=template)
    try:
        yield Target(conninfo.conninfo_to_dict(url))
    finally:
        embedded.drop_database(url)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """An empty database of the module's own."""
    with new_database() as empty:
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
def app(target: Target, connection: Connection) -> Iterator[Connection]:
    """A connection of the application, autocommitting."""
    with target.connect() as application:
        application.execute("SET application_name = 'the application'")
        yield application


def clear(connection: Connection) -> None:
    """Take away everything that a test left, and install the engine's schema."""
    schemas = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> "
        "'information_schema'"
    ).fetchall()
    with connection.transaction():
        connection.execute("SET LOCAL client_min_messages = warning")
        for (schema,) in schemas:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        connection.execute("CREATE SCHEMA public")
    install(connection)
