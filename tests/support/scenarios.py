"""Databases made from a team's SQL, on the embedded PostgreSQL and on the system's."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from psycopg import sql

from rollout.engine.target import Target, install
from tests.engine.old_server import old_server
from tests.support.bare_databases import copy_of_engine, database_on, embedded_server

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout import plan as r
    from tests.schemas import MakeScenario, Scenario

EMBEDDED, OLD = "the embedded PostgreSQL", "the system's PostgreSQL"


@pytest.fixture(scope="session")
def old() -> Iterator[Target]:
    """The system's PostgreSQL; skipped if there is none, failed in CI."""
    with old_server() as target:
        yield target


@pytest.fixture(params=[EMBEDDED, OLD])
def server(request: pytest.FixtureRequest) -> Target:
    """Each server in turn; a kind that is about one of them names its fixture itself."""
    if request.param == OLD:
        target: Target = request.getfixturevalue("old")
        return target
    return embedded_server()


@pytest.fixture
def newest() -> Target:
    """The embedded PostgreSQL alone."""
    return embedded_server()


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> Iterator[MakeScenario]:
    """``scenario(statements, plan)``: a scenario on a database made from SQL.

    It is made on the fixture ``server``, ``newest`` or ``old`` that the test asks for.
    ``{database}`` in the SQL is the database's name, ``template`` the rest of its CREATE DATABASE,
    ``user`` the role that the console connects as: with any of them the engine's schema is
    installed after the SQL, else a database is copied that has it.
    """
    from tests.schemas import Scenario

    with ExitStack() as stack:

        def make(
            statements: str, plan: r.Plan | None = None, *, template: str = "", user: str = ""
        ) -> Scenario:
            server = _server_of(request)
            if not (template or user or "{database}" in statements):
                template = copy_of_engine(server)
            target = stack.enter_context(database_on(server, template))
            with target.connect() as owner:
                owner.execute(
                    statements.replace("{database}", target.parameters["dbname"]).encode()
                )
            if user:
                target = Target({**target.parameters, "user": user})
            connection = stack.enter_context(target.connect())
            install(connection)
            return Scenario(target, connection, **({"plan": plan} if plan else {}))

        yield make


def _server_of(request: pytest.FixtureRequest) -> Target:
    """The one that the test asks for."""
    asked = next(name for name in ("server", "newest", "old") if name in request.fixturenames)
    target: Target = request.getfixturevalue(asked)
    return target


@pytest.fixture
def owner(request: pytest.FixtureRequest) -> Iterator[str]:
    """A role that owns tables, and is neither a superuser nor has BYPASSRLS.

    It is requested before ``scenario``, so that its databases are gone when it goes.
    """
    server = _server_of(request)
    role = f"owner_{uuid4().hex}"
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(sql.Identifier(role)))
        yield role
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
